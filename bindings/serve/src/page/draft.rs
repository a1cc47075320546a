//! What was filled in, and what is wrong with it: input is never lost to an error.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tollgate::{AccountId, AdminError, Amount, IpNet, MAX_NOW_MS, TokenQuota, parse_network};

/// Names and values of a form or a query, in order.
#[derive(Clone, Default)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    pub(super) fn parse(bytes: &[u8]) -> Self {
        Fields(form_urlencoded::parse(bytes).into_owned().collect())
    }

    /// The first value, without white space around it; empty where there is none.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(given, _)| given == name).map_or("", |(_, value)| value.trim())
    }

    /// The first value as it was given.
    pub(super) fn exact(&self, name: &str) -> &str {
        self.0.iter().find(|(given, _)| given == name).map_or("", |(_, value)| value)
    }

    pub(super) fn all<'f>(&'f self, name: &'f str) -> impl Iterator<Item = &'f str> {
        self.0.iter().filter(move |(given, _)| given == name).map(|(_, value)| value.as_str())
    }
}

/// A field, and what is wrong in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub field: &'static str,
    pub message: String,
}

/// A form as it was filled in.
#[derive(Clone, Default)]
pub(super) struct Draft {
    fields: Fields,
    problems: Vec<Problem>,
}

impl Draft {
    pub(super) fn of(fields: Fields) -> Self {
        Draft { fields, problems: Vec::new() }
    }

    pub(super) fn value(&self, name: &str) -> &str {
        self.fields.exact(name)
    }

    /// Whether a box is ticked or an option chosen.
    pub(super) fn has(&self, name: &str, value: &str) -> bool {
        self.fields.all(name).any(|given| given == value)
    }

    pub(super) fn problems(&self) -> &[Problem] {
        &self.problems
    }

    pub(super) fn problem(&self, field: &str) -> Option<&str> {
        self.problems.iter().find(|problem| problem.field == field).map(|problem| &*problem.message)
    }

    pub(super) fn is_good(&self) -> bool {
        self.problems.is_empty()
    }

    pub(super) fn wrong(&mut self, field: &'static str, message: impl Into<String>) {
        self.problems.push(Problem { field, message: message.into() });
    }

    /// What the store refused, at the field it concerns.
    pub(super) fn refused(&mut self, field: &'static str, error: &AdminError) {
        let message = match error {
            AdminError::Refused(refusal) => sentence(&refusal.to_string()),
            AdminError::Store(error) => {
                tracing::warn!(%error, "an operator's command failed");
                "The store is not available, or full. Nothing was changed; try again.".into()
            }
        };
        self.wrong(field, message);
    }

    pub(super) fn text(&self, name: &str) -> &str {
        self.fields.get(name)
    }

    pub(super) fn all<'f>(&'f self, name: &'f str) -> impl Iterator<Item = &'f str> {
        self.fields.all(name)
    }

    pub(super) fn account(&mut self, name: &'static str) -> Option<AccountId> {
        let account = AccountId::new(self.text(name));
        if account.is_err() {
            self.wrong(name, "Give a name of 1 to 128 bytes without control characters.");
        }
        account.ok()
    }

    /// An amount that may be left out.
    pub(super) fn amount(&mut self, name: &'static str) -> Option<Amount> {
        self.number(name, "in the ledger's minor unit").map(Amount)
    }

    /// An amount that must be there, and more than nothing.
    pub(super) fn needed_amount(&mut self, name: &'static str) -> Option<Amount> {
        if self.text(name).is_empty() {
            self.wrong(name, "Give an amount, in the ledger's minor unit.");
            return None;
        }
        let amount = self.amount(name)?;
        if amount == Amount::ZERO {
            self.wrong(name, "Give an amount above 0.");
            return None;
        }
        Some(amount)
    }

    fn number(&mut self, name: &'static str, unit: &str) -> Option<u64> {
        let text = self.text(name);
        if text.is_empty() {
            return None;
        }
        let number = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse());
        let number = number.and_then(Result::ok);
        if number.is_none() {
            self.wrong(name, format!("Give a whole number {unit}, in digits alone, below 2^64."));
        }
        number
    }

    /// One network.
    pub(super) fn network(&mut self, name: &'static str) -> Option<IpNet> {
        match parse_network(self.text(name)) {
            Ok(network) => Some(network),
            Err(error) => {
                self.wrong(name, sentence(&error.to_string()));
                None
            }
        }
    }

    /// Networks, one a line.
    pub(super) fn networks(&mut self, name: &'static str) -> Vec<IpNet> {
        let lines = self.text(name).lines().map(str::trim).filter(|line| !line.is_empty());
        let mut networks = Vec::new();
        let mut wrong = None;
        for (number, line) in (1_usize..).zip(lines) {
            match parse_network(line) {
                Ok(network) if networks.contains(&network) => {}
                Ok(network) => networks.push(network),
                Err(error) => wrong = wrong.or(Some(format!("Network {number}: {error}."))),
            }
        }
        if let Some(message) = wrong {
            self.wrong(name, message);
        }
        networks
    }

    /// A quota: a number of requests, and a window as number and unit. `None` where both numbers are left out.
    pub(super) fn quota(&mut self) -> Option<TokenQuota> {
        if self.text("quota").is_empty() && !self.text("window").is_empty() {
            self.wrong("quota", "Give a number of requests, or leave its window empty too.");
            return None;
        }
        let limit = self.number("quota", "of requests")?;
        let every = match self.text("window") {
            "" => 1,
            _ => self.number("window", "of the unit beside it")?,
        };
        let unit_ms = match self.text("window_unit") {
            "second" => 1_000,
            "hour" => 3_600_000,
            "day" => 86_400_000,
            _ => 60_000,
        };
        let window_ms = every.checked_mul(unit_ms).filter(|ms| (1..=MAX_NOW_MS).contains(ms));
        if window_ms.is_none() {
            self.wrong("window", "Give a window of at least 1, and of less than 500 years.");
        }
        Some(TokenQuota { limit, window_ms: window_ms? })
    }

    /// A time of day in UTC, as browsers write it (`2026-01-02T03:04`); it must be still to come.
    pub(super) fn time_to_come(&mut self, name: &'static str, now_ms: u64) -> Option<u64> {
        let text = self.text(name);
        if text.is_empty() {
            return None;
        }
        let Some(time_ms) = utc_ms(text) else {
            self.wrong(name, "Give a time in UTC, such as 2030-01-31T09:00.");
            return None;
        };
        if time_ms <= now_ms {
            self.wrong(name, "Give a time that is still to come.");
            return None;
        }
        Some(time_ms)
    }
}

fn utc_ms(text: &str) -> Option<u64> {
    let text = text.trim_end_matches('Z');
    let colons = text.bytes().filter(|byte| *byte == b':').count();
    let full = if colons == 1 { format!("{text}:00Z") } else { format!("{text}Z") };
    let time: SystemTime = humantime::parse_rfc3339_weak(&full).ok()?;
    let since: Duration = time.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok().filter(|time_ms| *time_ms <= MAX_NOW_MS)
}

/// A message as a sentence.
pub(super) fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let Some(first) = chars.next() else { return String::new() };
    format!("{}{}.", first.to_uppercase(), chars.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(form: &str) -> Draft {
        Draft::of(Fields::parse(form.as_bytes()))
    }

    #[test]
    fn fields_are_decoded_and_trimmed_and_may_be_many() {
        let fields = Fields::parse(b"a=1+2%3C&b=%20x%20&scopes=one&scopes=two&%ff=%ff");
        assert_eq!((fields.get("a"), fields.get("b"), fields.exact("b")), ("1 2<", "x", " x "));
        assert_eq!(fields.all("scopes").collect::<Vec<_>>(), ["one", "two"]);
        assert_eq!(fields.get("none"), "");
    }

    #[test]
    fn amounts_are_whole_numbers_or_a_problem_at_their_field() {
        assert_eq!(draft("a=18446744073709551615").amount("a"), Some(Amount::MAX));
        assert_eq!(draft("a=").amount("a"), None);
        for wrong in ["18446744073709551616", "-1", "1.5", "1e3", "%2B1", "1,000", "x", "%D9%A1"] {
            let mut draft = draft(&format!("a={wrong}"));
            assert_eq!(draft.amount("a"), None, "{wrong}");
            assert!(draft.problem("a").is_some(), "{wrong}");
        }
        for wrong in ["", "0"] {
            let mut draft = draft(&format!("a={wrong}"));
            assert!(draft.needed_amount("a").is_none() && draft.problem("a").is_some());
        }
    }

    #[test]
    fn a_network_that_is_none_is_named_by_its_line() {
        let mut good = draft("n=192.0.2.1%0D%0A%0D%0A2001:db8::/32%0A192.0.2.1");
        assert_eq!(good.networks("n").len(), 2);
        assert!(good.is_good());
        let mut bad = draft("n=192.0.2.1%0Anonsense");
        bad.networks("n");
        assert!(bad.problem("n").unwrap().starts_with("Network 2: not a network"));
    }

    #[test]
    fn a_quota_has_a_window() {
        let quota = |form: &str| draft(form).quota().map(|quota| (quota.limit, quota.window_ms));
        assert_eq!(quota("quota=5&window=2&window_unit=hour"), Some((5, 7_200_000)));
        assert_eq!(quota("quota=5"), Some((5, 60_000)));
        assert_eq!(quota(""), None);
        let mut half = draft("window=2");
        assert!(half.quota().is_none() && half.problem("quota").is_some());
        for wrong in ["0", "18446744073709551615", "x"] {
            let mut draft = draft(&format!("quota=5&window={wrong}"));
            assert!(draft.quota().is_none(), "{wrong}");
            assert_eq!(draft.problems().len(), 1, "{wrong}");
            assert!(draft.problem("window").is_some(), "{wrong}");
        }
    }

    #[test]
    fn times_are_utc_and_to_come() {
        let time = |text: &str| draft(&format!("t={text}")).time_to_come("t", 0);
        assert_eq!(time("1970-01-02T00:00"), Some(86_400_000));
        assert_eq!(time("1970-01-02T00:00:01Z"), Some(86_401_000));
        for wrong in ["tomorrow", "1970-13-01T00:00", "9999-01-01T00:00", "1970-01-01T00:00"] {
            let mut draft = draft(&format!("t={wrong}"));
            assert_eq!(draft.time_to_come("t", 0), None, "{wrong}");
            assert!(draft.problem("t").is_some(), "{wrong}");
        }
    }
}
