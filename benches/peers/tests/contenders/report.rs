//! Tables, the plot and the page say what was found.

use tollgate_peers::races::{Race, Units};
use tollgate_peers::report::{
    Facts, Figures, PairFigure, RaceFigure, Time, Weight, duration, markdown, place, plot,
};

fn figures() -> Figures {
    let time =
        |question, case: &str, contender, ns| Time { question, case: case.into(), contender, ns };
    let weight = |question: &str, case: &str, contender: &str, allocations, bytes| Weight {
        question: question.into(),
        case: case.into(),
        contender: contender.into(),
        allocations,
        bytes,
    };
    Figures {
        facts: Facts::here(),
        times: vec![
            time("get", "1 k", "slow & old", 12_345.0),
            time("get", "1 M", "slow & old", 23_456.0),
            time("get", "1 k", "tollgate", 123.0),
            time("get", "1 M", "tollgate", 456.0),
        ],
        weights: vec![
            weight("get", "1 k", "slow & old", 17.0, Some(99.0)),
            weight("get", "1 M", "slow & old", 17.0, Some(77.4)),
            weight("get", "1 k", "tollgate", 0.0, None),
        ],
        races: vec![RaceFigure {
            race: "over-admission",
            contender: "slow & old",
            came: Race { rounds: 200, wrong: 3, worst: 2 },
        }],
        pairs: vec![PairFigure { contender: "tollgate", units: Units { refused: 700, lost: 0 } }],
    }
}

fn has_row(text: &str, cells: &[&str]) -> bool {
    text.lines()
        .any(|line| line.trim_matches('|').split('|').map(str::trim).eq(cells.iter().copied()))
}

#[test]
fn tables_have_a_row_for_each_contender() {
    let text = markdown(&figures());
    assert!(has_row(&text, &["", "1 k", "1 M", "allocations", "bytes per token, 1 M"]), "{text}");
    assert!(has_row(&text, &["slow & old", "12 µs", "23 µs", "17", "77"]), "{text}");
    assert!(has_row(&text, &["tollgate", "125 ns", "455 ns", "0", ""]), "{text}");
    assert!(has_row(&text, &["over-admission", "slow & old", "200", "3 (1.5 %)", "2 too many"]));
    assert!(has_row(&text, &["tollgate", "700", "0"]), "{text}");
}

#[test]
fn versions_are_those_of_the_lock_file() {
    let text = markdown(&figures());
    assert!(!text.contains("unknown,"), "{text}");
    assert!(text.contains("cedar-policy 4."), "{text}");
}

#[test]
fn times_have_few_digits() {
    let cases = [(7.4, "7 ns"), (99.4, "99 ns"), (123.0, "125 ns"), (998.0, "1000 ns")];
    let longer = [(1_234.0, "1.2 µs"), (9_940.0, "9.9 µs"), (45_678.0, "46 µs")];
    for (ns, text) in cases.into_iter().chain(longer) {
        assert_eq!(duration(ns), text);
    }
}

#[test]
fn the_plot_has_every_label_and_longer_bars_for_longer_times() {
    let svg = plot(&figures().times).unwrap();
    for label in ["slow &amp; old", "12 µs", "tollgate", "125 ns", "a whole GET, 1 k tokens"] {
        assert!(svg.contains(label), "{label} is missing in {svg}");
    }
    let widths: Vec<u32> = svg
        .lines()
        .filter(|line| line.contains("<rect"))
        .filter_map(|line| line.split("width=\"").nth(1)?.split('"').next()?.parse().ok())
        .collect();
    let [slow_1k, fast_1k, slow_1m, fast_1m] = widths[..] else { panic!("{widths:?}") };
    assert!(fast_1k < fast_1m && fast_1m < slow_1k && slow_1k < slow_1m, "{widths:?}");
    assert!(plot(&[]).is_err());
}

#[test]
fn figures_take_their_place_in_the_page_and_nothing_else_changes() {
    let page = std::fs::read_to_string("../../docs/peers.md").unwrap();
    let placed = place(&page, "figures\n").unwrap();
    assert!(placed.contains("-->\n\nfigures\n\n<!--"), "{placed}");
    assert_eq!(place(&placed, "figures").unwrap(), placed);
    let original = markdown(&figures());
    assert!(place(&placed, &original).unwrap().starts_with(page.split("<!--").next().unwrap()));
    assert!(place("no place", "figures").is_err());
}

#[test]
fn every_figure_is_a_line_of_json() {
    let lines = figures().json().unwrap();
    assert_eq!(lines.lines().count(), 1 + 4 + 3 + 1 + 1);
    for line in lines.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(value.is_object());
    }
}
