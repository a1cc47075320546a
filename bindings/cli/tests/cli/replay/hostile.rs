//! What clients write into logs stays text, and secrets stay out of reports.

use std::fs;

use serde_json::json;

use super::{Desk, SMALL, at, order};
use crate::common::run;

/// A log whose every text is hostile.
fn hostile() -> Vec<u8> {
    let evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>&{{7*7}}\u{202e}\u{1b}[2J";
    let mut text = Vec::new();
    for number in 0..40_u64 {
        let path = format!("/{evil}/{number}?q={evil}");
        let line = at(
            number,
            &format!("GET{evil}"),
            if number % 2 == 0 { "/things" } else { &path },
            json!({
                "method": if number % 3 == 0 { evil } else { "GET" }, "token": format!("{evil}{}", number % 4),
                "account": format!("<b onclick=alert(1)>{}", number % 2), "user_agent": evil, "code": evil,
                "cost": u64::MAX, "key": evil, "sender": evil, "invalid": evil, "headers": [[evil, evil]],
            }),
        );
        text.extend_from_slice(format!("{line}\n").as_bytes());
    }
    text.extend_from_slice(
        b"<svg onload=alert(1)>\n\xff\xfe\0\n{\"now_ms\":1e999}\n{\"now_ms\":-1}\n",
    );
    text.extend_from_slice(&vec![b'{'; 1 << 20]);
    text.extend_from_slice(b"\n{\"now_ms\":0,\"method\":\"GET\",\"path\":\"/things\"}\n");
    text.extend_from_slice(
        b"{\"now_ms\":17592186044415,\"method\":\"GET\",\"path\":\"/things\",\"token\":\"z\"}\n",
    );
    text
}

/// The names of all elements and attributes of a page.
fn markup(page: &str) -> (Vec<String>, Vec<String>) {
    let (mut elements, mut attributes) = (Vec::new(), Vec::new());
    let without_style = match (page.split_once("<style>"), page.split_once("</style>")) {
        (Some((before, _)), Some((_, after))) => format!("{before}{after}"),
        _ => panic!("the page has no style"),
    };
    for tag in without_style.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').unwrap_or_else(|| panic!("no end of <{tag}"));
        elements.push(tag.trim_start_matches('/').split([' ', '/']).next().unwrap().to_owned());
        // Names are what stands before each `=`, outside of the quotes.
        for (index, part) in tag.split('"').enumerate() {
            if index % 2 == 0
                && let Some(name) = part.trim().strip_suffix('=')
            {
                attributes.push(name.rsplit(' ').next().unwrap().to_owned());
            }
        }
    }
    (elements, attributes)
}

#[test]
fn a_hostile_log_is_text_in_every_report() {
    let desk = Desk::new();
    let strict = desk.write("strict.toml", SMALL.replace("quota = 2", "quota = 1"));
    let state = desk.write("state.json", r#"{"*": {"spend_caps": [{"per": "day", "amount": 1}]}}"#);
    let (small, page) = (desk.path("small.toml"), desk.path("report.html"));
    let args = ["--policy", &small, "--against", &strict, "--state", &state, "--html", &page];
    let log = desk.write("<img onerror=alert(1)>.log", hostile());
    let ran = run(&[&["replay", log.as_str()], &args[..]].concat(), b"");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.out);
    assert!(ran.out.contains("<script>"), "the test has no hostile text in it: {}", ran.out);
    let controls = |text: &str| {
        text.chars().any(|char| char.is_control() && char != '\n' || char == '\u{202e}')
    };
    assert!(!controls(&ran.out), "{:?}", ran.out);

    let page = fs::read_to_string(page).unwrap();
    assert!(page.contains("script") && page.contains("onclick"), "nor the page");
    assert!(!controls(&page));
    let (elements, attributes) = markup(&page);
    const ELEMENTS: &str = "!DOCTYPE html head meta title style body header h1 p dl div dt dd main section h2 \
        h3 h4 table caption thead tr th tbody td article span details summary ol ul li figure figcaption svg \
        desc line rect text code";
    const ATTRIBUTES: &str = "lang charset name content http-equiv class tabindex role id aria-label \
        aria-labelledby aria-hidden scope width height x y x1 x2 y1 y2 rx text-anchor";
    for (names, known) in [(elements, ELEMENTS), (attributes, ATTRIBUTES)] {
        for name in names {
            assert!(known.split_whitespace().any(|known| known == name), "{name} is in the page");
        }
    }
    for outside in ["http://", "https://", "url(", "@import", "javascript:"] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn no_secret_of_a_log_is_in_a_report() {
    let desk = Desk::new();
    let token = tollgate::TokenText::generate(&[3; 32]);
    let secrets =
        [token.expose(), "key-hunter2", "query-hunter2", "cookie-hunter2", "text-hunter2"];
    let bearer = format!("Bearer {}", token.expose());
    let lines = [
        order(
            0,
            json!({"token": token.expose(), "key": "key-hunter2", "path": "/orders?q=query-hunter2"}),
        ),
        order(
            1,
            json!({"token": null, "headers": [["Authorization", bearer], ["Cookie", "cookie-hunter2"]]}),
        ),
        order(2, json!({"token": token.expose(), "status": "text-hunter2"})),
    ];
    let (small, page) = (desk.path("small.toml"), desk.path("report.html"));
    let other = desk.write("other.toml", SMALL.replace("price = 5", "price = 6"));
    let args = ["--policy", &small, "--against", &other, "--html", &page];
    let text = desk.replay(&lines, &args);
    let json = desk.replay(&lines, &[&args[..], &["--json"]].concat());
    assert_eq!(json.json()["callers"]["tokens"], 1, "both lines are of one token");
    for report in [text.out, text.err, json.out, fs::read_to_string(page).unwrap()] {
        for secret in secrets {
            assert!(!report.contains(secret), "{secret} is in {report}");
        }
    }
}
