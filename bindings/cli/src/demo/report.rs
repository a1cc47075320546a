//! Rows of a run: what was asked, what came, what is documented.

use std::fmt::Write;

use serde_json::{Value, json};

use super::client::{Call, ClientError, Reply};

/// One thing that is documented about a reply.
pub(super) enum Documented {
    Status(u16),
    Code(&'static str),
    Header(&'static str, &'static str),
    /// A header that holds a number from 1 on.
    Seconds(&'static str),
    /// A header that is there.
    Present(&'static str),
    /// A header that is not there.
    Absent(&'static str),
    Body(Vec<u8>),
}

impl Documented {
    /// What is different, if anything.
    fn difference(&self, reply: &Reply) -> Option<String> {
        let differs = |what: &str, expected: &str, got: &str| {
            (expected != got).then(|| format!("{what} is {got}, documented is {expected}"))
        };
        let header = |name| reply.header(name).unwrap_or("absent");
        match self {
            Documented::Status(status) => {
                differs("status", &status.to_string(), &reply.status.to_string())
            }
            Documented::Code(code) => {
                differs("code", code, reply.code().as_deref().unwrap_or("absent"))
            }
            Documented::Header(name, value) => differs(name, value, header(name)),
            Documented::Seconds(name) => {
                let seconds = reply.header(name).and_then(|value| value.parse::<u64>().ok());
                (seconds.unwrap_or(0) == 0)
                    .then(|| format!("{name} is {}, documented are seconds", header(name)))
            }
            Documented::Present(name) => {
                reply.header(name).is_none().then(|| format!("{name} is absent"))
            }
            Documented::Absent(name) => differs(name, "absent", header(name)),
            Documented::Body(body) => {
                (reply.body != *body).then(|| "the body is another".to_owned())
            }
        }
    }
}

/// Headers that a row shows.
const SHOWN: [&str; 7] = [
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
    "retry-after",
    "idempotent-replayed",
    "www-authenticate",
    "location",
];

/// One row.
pub(super) struct Row {
    name: &'static str,
    request: String,
    /// Status and code; or, in a row about figures, those.
    got: String,
    headers: Vec<(&'static str, String)>,
    differences: Vec<String>,
}

impl Row {
    /// A reply, held against what is documented.
    pub(super) fn reply(
        name: &'static str,
        call: &Call,
        reply: &Result<Reply, ClientError>,
        documented: &[Documented],
    ) -> Row {
        let (got, headers, differences) = match reply {
            Err(error) => (String::from("-"), Vec::new(), vec![error.to_string()]),
            Ok(reply) => {
                let code = reply.code().map(|code| format!(" {code}")).unwrap_or_default();
                let headers = SHOWN
                    .iter()
                    .filter_map(|name| Some((*name, reply.header(name)?.to_owned())))
                    .collect();
                let differences =
                    documented.iter().filter_map(|wanted| wanted.difference(reply)).collect();
                (format!("{}{code}", reply.status), headers, differences)
            }
        };
        Row { name, request: call.name(), got, headers, differences }
    }

    /// A figure that is known beside the replies.
    pub(super) fn figure(name: &'static str, what: &str, expected: &str, got: String) -> Row {
        let differences = if got == expected {
            Vec::new()
        } else {
            vec![format!("{what} is {got}, documented is {expected}")]
        };
        Row { name, request: what.to_owned(), got, headers: Vec::new(), differences }
    }

    pub(super) fn is_as_documented(&self) -> bool {
        self.differences.is_empty()
    }

    /// `{name, request, got, headers, as_documented, differences}`.
    pub(super) fn json(&self) -> Value {
        let headers: serde_json::Map<_, _> =
            self.headers.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        json!({
            "name": self.name,
            "request": self.request,
            "got": self.got,
            "headers": headers,
            "as_documented": self.is_as_documented(),
            "differences": self.differences,
        })
    }
}

/// All rows for people.
pub(super) fn table(rows: &[Row]) -> String {
    let width = |of: fn(&Row) -> usize| rows.iter().map(of).max().unwrap_or(0);
    let names = width(|row| row.name.chars().count());
    let requests = width(|row| row.request.chars().count());
    let gots = width(|row| row.got.chars().count());
    let mut out = String::new();
    for row in rows {
        let mark = if row.is_as_documented() { "ok  " } else { "FAIL" };
        let headers: Vec<_> = row
            .headers
            .iter()
            .filter(|(name, _)| *name != "x-ratelimit-reset" && *name != "www-authenticate")
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        let line = format!(
            "{mark}  {:names$}  {:requests$}  {:gots$}  {}",
            row.name,
            row.request,
            row.got,
            headers.join(", ")
        );
        let _ = writeln!(out, "{}", line.trim_end());
        for difference in &row.differences {
            let _ = writeln!(out, "      {difference}");
        }
    }
    let failed = rows.iter().filter(|row| !row.is_as_documented()).count();
    let _ = match failed {
        0 => writeln!(out, "\n{} of {} as documented", rows.len(), rows.len()),
        _ => writeln!(out, "\n{failed} of {} not as documented", rows.len()),
    };
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(documented: &[Documented]) -> Row {
        let mut headers = http::HeaderMap::new();
        headers.insert("retry-after", http::HeaderValue::from_static("0"));
        let body = bytes::Bytes::from_static(b"{\"code\":\"rate_limited\"}");
        let token = tollgate::TokenText::generate(&[1; 32]);
        let call = Call::get("/messages", &token);
        Row::reply("a row", &call, &Ok(Reply { status: 429, headers, body }), documented)
    }

    #[test]
    fn what_differs_is_told() {
        let same = [
            Documented::Status(429),
            Documented::Code("rate_limited"),
            Documented::Header("retry-after", "0"),
            Documented::Present("retry-after"),
            Documented::Absent("location"),
            Documented::Body(b"{\"code\":\"rate_limited\"}".to_vec()),
        ];
        assert!(row(&same).is_as_documented());
        let other = [
            Documented::Status(200),
            Documented::Code("allowed"),
            Documented::Header("location", "/"),
            Documented::Seconds("retry-after"),
            Documented::Present("location"),
            Documented::Absent("retry-after"),
            Documented::Body(Vec::new()),
        ];
        let row = row(&other);
        assert_eq!(row.differences.len(), other.len());
        assert_eq!(row.differences[0], "status is 429, documented is 200");
        let table = table(&[row]);
        assert!(table.contains("FAIL  a row  GET /messages  429 rate_limited  retry-after: 0\n"));
        assert!(table.contains("\n1 of 1 not as documented\n"), "{table}");
    }

    #[test]
    fn figures_are_compared() {
        assert!(Row::figure("sent once", "messages sent", "1", "1".into()).is_as_documented());
        let row = Row::figure("sent once", "messages sent", "1", "2".into());
        assert_eq!(row.differences, ["messages sent is 2, documented is 1"]);
        assert_eq!(row.json()["as_documented"], false);
    }
}
