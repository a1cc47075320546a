//! Explores setups by name, or all of them, and prints what it has seen as a table.
#![allow(clippy::print_stdout)] // the table is what it is for

use std::process::ExitCode;

use tollgate_states::{LARGE, SMALL, Setup, explore};

fn main() -> ExitCode {
    let named: Vec<String> = std::env::args().skip(1).collect();
    let all: Vec<&Setup> = SMALL.iter().chain(LARGE).collect();
    let is_known = |name: &&String| !all.iter().any(|setup| setup.name == **name);
    if let Some(unknown) = named.iter().find(is_known) {
        let names: Vec<&str> = all.iter().map(|setup| setup.name).collect();
        println!("there is no setup {unknown}; the setups are {}", names.join(", "));
        return ExitCode::from(2);
    }
    println!("| Setup | What is in it | States | Steps | Depth | Seconds |");
    println!("|---|---|---:|---:|---:|---:|");
    let mut faults = Vec::new();
    let mut states = 0_usize;
    for setup in all {
        if !named.is_empty() && !named.iter().any(|name| name == setup.name) {
            continue;
        }
        let explored = explore(*setup);
        println!(
            "| `{}` | {} | {} | {} | {} | {:.1} |",
            setup.name,
            setup.about,
            explored.states,
            explored.steps,
            explored.depth,
            explored.took.as_secs_f64()
        );
        states = explored.states.saturating_add(states);
        faults.extend(explored.faults.into_iter().map(|fault| (setup.name, fault)));
    }
    println!("\n{states} states");
    for (name, fault) in &faults {
        println!("{name}: {fault}");
    }
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
