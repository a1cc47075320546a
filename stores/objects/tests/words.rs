//! What there may be too many of, and what may be damaged, has the same words at the caller.
#![cfg(test)]

#[test]
fn the_words_of_the_records_are_known() {
    let known = include_str!("../src/failure.rs");
    let sources = [
        include_str!("../../kv/src/change.rs"),
        include_str!("../../kv/src/format.rs"),
        include_str!("../../kv/src/records.rs"),
        include_str!("../../kv/src/record.rs"),
        include_str!("../../kv/src/sweep.rs"),
        include_str!("../../kv/src/verify.rs"),
        include_str!("../../kv/src/view.rs"),
    ];
    let mut words = 0;
    for source in sources {
        for begin in ["corrupt(\"", "Bound(\"", "what = \"", "WHAT: &str = \"", "), \""] {
            for rest in source.split(begin).skip(1) {
                let word = rest.split('"').next().unwrap();
                assert!(known.contains(&format!("    \"{word}\",\n")), "{word}");
                words += 1;
            }
        }
    }
    assert!(words > 40, "only {words}");
}
