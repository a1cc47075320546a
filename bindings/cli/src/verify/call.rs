//! A request to make, and how a person repeats it.

use bytes::Bytes;

/// A request to the gateway.
#[derive(Clone, Default)]
pub(super) struct Call {
    pub(super) method: String,
    /// Path and query as they are sent, without the base path of the gateway's URL.
    pub(super) target: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Bytes,
    /// The route that it is meant for, if it is one.
    pub(super) route: Option<String>,
    /// HTTP servers may refuse it themselves, before anything is decided: it is malformed, or nearly so.
    pub(super) is_odd: bool,
}

impl Call {
    pub(super) fn new(method: &str, target: &str) -> Call {
        Call { method: method.to_owned(), target: target.to_owned(), ..Call::default() }
    }

    pub(super) fn header(mut self, name: &str, value: &str) -> Call {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(super) fn bearer(self, token: &str) -> Call {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    pub(super) fn authorization(&self) -> Option<&str> {
        let found =
            self.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        found.map(|(_, value)| value.as_str())
    }

    pub(super) fn key(self, key: &str) -> Call {
        self.header("Idempotency-Key", key)
    }

    pub(super) fn odd(self) -> Call {
        Call { is_odd: true, ..self }
    }

    /// The same body with a blank behind it: the same JSON, and another fingerprint.
    pub(super) fn with_other_body(mut self) -> Call {
        self.body = [&self.body[..], b" "].concat().into();
        self
    }

    /// As a line of curl, in which the shell fills `$TOKEN` in.
    pub(super) fn curl(&self, base: &str, redactor: &Redactor) -> String {
        let mut line = String::from("curl -i --path-as-is");
        match self.method.as_str() {
            "HEAD" => line.push_str(" -I"),
            method => line.push_str(&format!(" -X {method}")),
        }
        let quoted = |text: &str| quoted(text, &redactor.redact(text));
        for (name, value) in &self.headers {
            line.push_str(&format!(" -H {}", quoted(&format!("{name}: {value}"))));
        }
        if !self.body.is_empty() {
            line.push_str(&format!(" -d {}", quoted(&String::from_utf8_lossy(&self.body))));
        }
        line.push_str(&format!(" {}", quoted(&format!("{base}{}", self.target))));
        line
    }
}

/// For a POSIX shell: in double quotes where something is to be filled in.
fn quoted(text: &str, redacted: &str) -> String {
    if text == redacted {
        return format!("'{}'", text.replace('\'', "'\\''"));
    }
    let mut out = String::from("\"");
    for (index, part) in redacted.split(TOKEN).enumerate() {
        if index > 0 {
            out.push_str(TOKEN);
        }
        for char in part.chars() {
            if matches!(char, '"' | '\\' | '`' | '$') {
                out.push('\\');
            }
            out.push(char);
        }
    }
    out.push('"');
    out
}

/// What stands in the place of a secret.
const TOKEN: &str = "$TOKEN";

/// Takes secrets out of texts.
#[derive(Clone, Default)]
pub(super) struct Redactor(Vec<String>);

/// Shorter texts are no secrets worth the name, and would be found in everything.
const MIN_SECRET_BYTES: usize = 4;

impl Redactor {
    pub(super) fn hide(&mut self, secret: &str) {
        if secret.len() >= MIN_SECRET_BYTES && !self.0.iter().any(|known| known == secret) {
            self.0.push(secret.to_owned());
            // The longest first: one may hold another.
            self.0.sort_by_key(|known| std::cmp::Reverse(known.len()));
        }
    }

    /// The text with `$TOKEN` in the place of each secret.
    pub(super) fn redact(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret, TOKEN))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_curl_has_no_token() {
        let mut redactor = Redactor::default();
        redactor.hide("t-secret");
        let call =
            Call { body: "{\"a\": \"it's\"}".into(), ..Call::new("POST", "/a?t=t-secret$x") };
        let line = call.bearer("t-secret").key("k1").curl("http://127.0.0.1:80", &redactor);
        assert_eq!(
            line,
            "curl -i --path-as-is -X POST -H \"Authorization: Bearer $TOKEN\" \
             -H 'Idempotency-Key: k1' -d '{\"a\": \"it'\\''s\"}' \
             \"http://127.0.0.1:80/a?t=$TOKEN\\$x\""
        );
        assert_eq!(redactor.redact("a t-secret b"), "a $TOKEN b");
    }
}
