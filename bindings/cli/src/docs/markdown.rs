//! The reference for people, in Markdown.

use std::fmt::Write;

use tollgate::{
    Algorithm, Counts, ForwardedHeader, Limit, OnOrphan, Partition, Status, TokenFormat,
};

use super::examples::Example;
use super::facts::Facts;
use super::words::{of_header, of_status, span};

/// Text in a code span, also within a table.
fn code(text: &str) -> String {
    let longest = text.split(|char| char != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.saturating_add(1));
    let pad = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{pad}{}{pad}{fence}", text.replace('|', "\\|"))
}

fn table(out: &mut String, head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
    let line = |out: &mut String, cells: &[String]| {
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    };
    line(out, &head.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>());
    line(out, &head.iter().map(|_| "---".to_owned()).collect::<Vec<_>>());
    for row in rows {
        line(out, &row);
    }
    out.push('\n');
}

fn list<'t>(texts: impl IntoIterator<Item = &'t str>) -> String {
    let texts: Vec<String> = texts.into_iter().map(code).collect();
    match texts.is_empty() {
        true => "–".to_owned(),
        false => texts.join(", "),
    }
}

pub(super) fn write(facts: &Facts<'_>, title: &str) -> String {
    let mut out = String::new();
    let plain: String = title.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let _ = writeln!(out, "# {plain}\n");
    out.push_str(
        "Made by `tollgate docs` from the policy that the API follows. The examples are answers of the \
         engine itself.\n\n",
    );
    authentication(&mut out, facts);
    scopes(&mut out, facts);
    errors(&mut out, facts);
    headers(&mut out, facts);
    limits(&mut out, facts);
    idempotency(&mut out, facts);
    money(&mut out, facts);
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn authentication(out: &mut String, facts: &Facts<'_>) {
    out.push_str("## Authentication\n\nEvery request carries a token: `Authorization: Bearer YOUR_API_TOKEN`. ");
    out.push_str(match facts.config.tokens.format {
        TokenFormat::Native => "A token is `tg_live_`, 30 characters of base62, and a checksum. ",
        TokenFormat::Opaque => "A token is 1 to 512 visible ASCII characters. ",
    });
    out.push_str(
        "The scheme may be written in any case. A token is read from this header alone, and a revoked one is \
         refused at once.\n\n",
    );
    if !facts.config.source.shadow_networks {
        out.push_str(
            "Networks may be set for an account and for a token. Without any, calls may come from anywhere; once \
             there is one, calls from other addresses are refused.\n\n",
        );
    }
    let proxies = &facts.config.source.trusted_proxies;
    if !proxies.is_empty() {
        let header = match facts.config.source.forwarded_header {
            ForwardedHeader::XForwardedFor => "X-Forwarded-For",
            ForwardedHeader::Forwarded => "Forwarded",
        };
        let _ =
            writeln!(out, "Behind the API's own proxies the address is the one in `{header}`.\n");
    }
}

fn scopes(out: &mut String, facts: &Facts<'_>) {
    out.push_str("## Scopes\n\nA token has one or more scopes. A route needs one of those that grant it.\n\n");
    let rows = facts
        .config
        .scopes
        .iter()
        .map(|(scope, routes)| vec![code(scope), list(routes.iter().map(String::as_str))]);
    table(out, &["Scope", "Grants"], rows);
    let closed = facts.routes.iter().filter(|route| route.scopes.is_empty());
    let closed: Vec<&str> = closed.map(|route| route.name.as_str()).collect();
    if !closed.is_empty() {
        let _ = writeln!(out, "No scope grants {}: nobody may call that.\n", list(closed));
    }
    out.push_str("`HEAD` is granted with `GET`. ");
    out.push_str(match facts.config.paths.fold_trailing_slash {
        true => "A slash at the end of a path makes no difference.",
        false => "A path with a slash at its end is another path.",
    });
    out.push_str(
        " A path that could be read in two ways (`//`, `/./`, `/../`, `%2f`, `;`) is no route.\n\n",
    );
}

fn errors(out: &mut String, facts: &Facts<'_>) {
    out.push_str(
        "## Errors\n\nAn error has a JSON body with a message for people and a code for programs. When several \
         checks fail, the first of this table gives the answer.\n\n",
    );
    let denials: Vec<&Example> =
        facts.answers().into_iter().filter(|example| example.status.is_denial()).collect();
    let rows = denials.iter().map(|example| {
        let row = example.status.row();
        let (when, what) = of_status(example.status);
        let shown = facts.headers_of(example.status);
        let own =
            shown.into_iter().filter(|name| !matches!(*name, "Content-Type" | "Cache-Control"));
        vec![
            row.http.to_string(),
            code(row.code),
            message(example),
            when.to_owned(),
            what.to_owned(),
            list(own),
        ]
    });
    table(out, &["Status", "Code", "Message", "When", "What to do", "Headers"], rows);
    if let Some(example) = denials.first() {
        out.push_str(&http(example));
    }
}

/// What the engine says to people.
fn message(example: &Example) -> String {
    // This one's text is the host's.
    if example.status == Status::ValidationFailed {
        return "the API's own".to_owned();
    }
    let body = example.body();
    let text = body.get("message").or_else(|| body.get("detail"));
    text.and_then(|text| text.as_str()).unwrap_or_default().replace('|', "\\|")
}

/// An answer as it is on the wire.
fn http(example: &Example) -> String {
    let mut text = format!("```http\nHTTP/1.1 {}\n", example.answer.status);
    for (name, value) in &example.answer.headers {
        let _ = writeln!(text, "{name}: {}", String::from_utf8_lossy(value));
    }
    let _ = writeln!(text, "\n{}\n```\n", String::from_utf8_lossy(&example.answer.body));
    text
}

fn headers(out: &mut String, facts: &Facts<'_>) {
    out.push_str("## Headers\n\nOf requests:\n\n");
    let mut rows = vec![vec![
        code("Authorization"),
        "`Bearer`, a blank, and the token".to_owned(),
        "always".to_owned(),
    ]];
    if facts.routes.iter().any(|route| route.takes_key) {
        rows.push(vec![
            code("Idempotency-Key"),
            "1 to 255 visible ASCII characters, once; also as a string of RFC 8941".to_owned(),
            "routes that take one, see [Idempotency](#idempotency)".to_owned(),
        ]);
    }
    table(out, &["Name", "Holds", "When"], rows);
    out.push_str("Of answers:\n\n");
    let mut names: Vec<&str> = Vec::new();
    for example in facts.routes.iter().flat_map(|route| &route.examples) {
        for name in example.header_names() {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    names.sort_unstable();
    let rows = names.into_iter().map(|name| {
        let words = of_header(name, facts.config);
        let example = example_of(facts, name).unwrap_or_default();
        vec![code(name), words.holds, words.when.to_owned(), code(&example)]
    });
    table(out, &["Name", "Holds", "When", "Example"], rows);
}

/// A value that the engine gave. Denials come first: what is stored of an upstream is its own.
pub(super) fn example_of(facts: &Facts<'_>, name: &str) -> Option<String> {
    let answers = facts.answers();
    let (denials, others): (Vec<&Example>, Vec<&Example>) =
        answers.into_iter().partition(|example| example.status.is_denial());
    denials.into_iter().chain(others).find_map(|example| example.header(name))
}

fn limits(out: &mut String, facts: &Facts<'_>) {
    if facts.limits.is_empty() {
        return;
    }
    out.push_str("## Rate limits\n\n");
    let rows = facts.limits.iter().map(|facts_of| {
        let limit = &facts_of.limit;
        let everywhere = facts.config.limits.get(&*limit.name).is_none_or(|it| it.routes.is_none());
        let routes = facts
            .routes
            .iter()
            .filter(|route| route.limits.iter().any(|other| other.name == limit.name));
        let routes = match everywhere {
            true => "all".to_owned(),
            false => list(routes.map(|route| route.name.as_str())),
        };
        let counts = match limit.counts {
            Counts::Requests => "every authorised request",
            Counts::Executions => "requests that go through",
        };
        vec![
            code(&limit.name),
            partition(limit.partition).to_owned(),
            format!("{} in {}", limit.quota.units, span(limit.quota.window_ms)),
            counts.to_owned(),
            routes,
            guarantee(limit),
        ]
    });
    table(out, &["Limit", "For", "Units", "Counts", "Routes", "Guarantee"], rows);
    costs(out, facts);
    if facts.limits.iter().any(|facts| facts.limit.token_override) {
        out.push_str("A token may have a quota of its own in the place of the one above.\n\n");
    }
    out.push_str("A request that is denied with 429 is counted in no limit.\n\n");
    if let Some(example) = facts.limits.iter().find_map(|facts| facts.denial.as_ref()) {
        out.push_str(&http(example));
    }
}

/// Routes that take more than one unit.
fn costs(out: &mut String, facts: &Facts<'_>) {
    let mut rows = Vec::new();
    for route in &facts.routes {
        for limit in route.limits.iter().filter(|limit| limit.cost > 1 && !limit.shadow) {
            rows.push(vec![code(&route.name), code(&limit.name), limit.cost.to_string()]);
        }
    }
    if !rows.is_empty() {
        out.push_str("A request takes one unit, but for these:\n\n");
        table(out, &["Route", "Limit", "Units"], rows);
    }
}

fn partition(partition: Partition) -> &'static str {
    match partition {
        Partition::Token => "each token",
        Partition::Account => "each account",
        Partition::SourceIp => "each source address (IPv6: each /64)",
        Partition::TokenSourceIp => "each token from each source address",
        Partition::AccountSourceIp => "each account from each source address",
        Partition::Global => "all together",
    }
}

fn guarantee(limit: &Limit) -> String {
    let (units, burst) = (limit.quota.units, limit.quota.burst);
    let window = span(limit.quota.window_ms);
    match limit.algorithm {
        Algorithm::Gcra => {
            format!("{burst} at once, and {units} more in every {window}: it refills smoothly")
        }
        Algorithm::FixedWindow => {
            format!("never more than {units} from one multiple of {window} (Unix time) to the next")
        }
        Algorithm::SlidingWindow => {
            format!("never more than {units} in any {window}, wherever it begins")
        }
    }
}

fn idempotency(out: &mut String, facts: &Facts<'_>) {
    let routes: Vec<_> = facts.routes.iter().filter(|route| route.takes_key).collect();
    if routes.is_empty() {
        return;
    }
    out.push_str(
        "## Idempotency\n\nThese routes take an `Idempotency-Key`. A retry with the same key and the same request \
         gets the first answer again, with `Idempotent-Replayed: true`: nothing is done twice, and a replay costs \
         nothing. A key belongs to one account and one route.\n\n",
    );
    let rows = routes.iter().map(|route| {
        let orphan = match route.on_orphan {
            OnOrphan::Conflict => "stays in flight (409) until it is resolved",
            OnOrphan::Rerun => "may run again once its lease ended",
        };
        vec![
            code(&route.name),
            if route.needs_key { "yes" } else { "no" }.to_owned(),
            span(route.retention_ms),
            orphan.to_owned(),
        ]
    });
    table(out, &["Route", "Required", "Kept for", "A request whose end is unknown"], rows);
    if let Some(example) = routes.iter().find_map(|route| route.example(Status::Replayed)) {
        out.push_str(&http(example));
    }
}

fn money(out: &mut String, facts: &Facts<'_>) {
    let routes: Vec<_> = facts.routes.iter().filter(|route| route.is_charged).collect();
    if routes.is_empty() {
        return;
    }
    out.push_str(
        "## Money\n\nAmounts are whole numbers of the currency's minor unit. The price is held before the request \
         is carried out, and charged when it was. Caps count what is held and what was charged.\n\n",
    );
    let rows = routes.iter().map(|route| {
        let price = route.price.map_or_else(|| "by request".to_owned(), |price| price.to_string());
        vec![code(&route.name), price]
    });
    table(out, &["Route", "Price"], rows);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_spans_hold_any_name() {
        assert_eq!(code("a"), "`a`");
        assert_eq!(code("a|b"), "`a\\|b`");
        assert_eq!(code("a`b"), "``a`b``");
        assert_eq!(code("`"), "`` ` ``");
        assert_eq!(code("``"), "``` `` ```");
    }
}
