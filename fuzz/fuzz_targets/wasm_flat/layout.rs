//! The layouts as the package's JavaScript writes and reads them, made here anew.

use tollgate::{AccountId, AccountRef, Decision, Engine, StoredResponse, Ticket, Verdict};

/// Bytes that are written from the front.
#[derive(Default)]
pub struct Layout(Vec<u8>);

impl Layout {
    fn number<const N: usize>(mut self, number: u64) -> Self {
        self.0.extend(&number.to_le_bytes()[..N]);
        self
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    fn lengths<'a>(self, headers: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        headers.into_iter().fold(self, |layout, (name, value)| {
            layout.number::<4>(name.len() as u64).number::<4>(value.len() as u64)
        })
    }

    fn headers<'a>(self, headers: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        headers.into_iter().fold(self, |layout, (name, value)| layout.bytes(name).bytes(value))
    }

    /// `parts`: method, target, peer, sender, invalid, body; and whether they are given.
    pub fn request(
        now_ms: u64,
        cost: Option<u64>,
        peek: bool,
        headers: &[(&[u8], &[u8])],
        parts: [(bool, &[u8]); 6],
    ) -> Vec<u8> {
        let flag = |is: bool, flag: u64| if is { flag } else { 0 };
        let flags =
            flag(cost.is_some(), 1) | flag(parts[3].0, 2) | flag(parts[4].0, 4) | flag(peek, 8);
        let head = Layout::default().number::<8>(now_ms).number::<8>(cost.unwrap_or(0));
        let head = head.number::<1>(flags).number::<1>(0).number::<2>(headers.len() as u64);
        let lengths =
            parts.iter().fold(head, |layout, (_, part)| layout.number::<4>(part.len() as u64));
        let [method, target, peer, sender, invalid, body] = parts.map(|(_, part)| part);
        let all = lengths.lengths(headers.iter().copied()).bytes(method).bytes(target);
        all.bytes(peer).bytes(sender).bytes(invalid).headers(headers.iter().copied()).bytes(body).0
    }

    pub fn ending(
        now_ms: u64,
        kind: u8,
        amount: Option<u64>,
        ticket: &[u8],
        response: Option<&StoredResponse>,
    ) -> Vec<u8> {
        let body = response.and_then(|response| response.body.as_deref());
        let headers = response.map_or(&[][..], |response| &response.headers);
        let headers: Vec<(&[u8], &[u8])> =
            headers.iter().map(|(name, value)| (name.as_bytes(), &**value)).collect();
        let given = [amount.is_some(), response.is_some(), body.is_some()];
        let flags = given.iter().rev().fold(0, |flags, is| flags * 2 + u64::from(*is));
        let head = Layout::default().number::<8>(now_ms).number::<8>(amount.unwrap_or(0));
        let head = head.number::<1>(kind.into()).number::<1>(flags);
        let head = head.number::<2>(response.map_or(0, |response| response.status.into()));
        let head =
            head.number::<2>(headers.len() as u64).number::<2>(0).number::<4>(ticket.len() as u64);
        let head = head.number::<4>(body.map_or(0, <[u8]>::len) as u64);
        let all = head.lengths(headers.iter().copied()).bytes(ticket).headers(headers);
        all.bytes(body.unwrap_or_default()).0
    }

    pub fn ticket(ticket: &Ticket) -> Vec<u8> {
        let by_slot = matches!(ticket.account, AccountRef::Slot(_));
        let head = Layout::default()
            .number::<1>(1)
            .number::<1>(u64::from(ticket.holds_key) + 2 * u64::from(by_slot));
        let head = head.number::<8>(ticket.reservation.0).number::<8>(ticket.reserved.0);
        match &ticket.account {
            AccountRef::Id(id) => head.bytes(id.as_str().as_bytes()).0,
            AccountRef::Slot(slot) => head.number::<4>((*slot).into()).0,
        }
    }

    pub fn replies(replies: &[(bool, Vec<u8>)]) -> Vec<u8> {
        let head = Layout::default().number::<4>(replies.len() as u64);
        let heads = replies.iter().fold(head, |layout, (is_answer, reply)| {
            layout.number::<4>((*is_answer).into()).number::<4>(reply.len() as u64)
        });
        replies.iter().fold(heads, |layout, (_, reply)| layout.bytes(reply)).0
    }

    /// Checks that bytes say what a decision is.
    pub fn decision(
        bytes: &[u8],
        engine: &Engine,
        decision: &Decision,
        account: Option<&AccountId>,
    ) {
        let answer = engine.answer(decision);
        let mut rest = bytes;
        let verdict = match decision.verdict() {
            Verdict::Allow => 0,
            Verdict::Deny => 1,
            Verdict::Replay => 2,
        };
        assert_eq!(take(&mut rest, 4), u64::from(decision.status().number()) * 4 + verdict);
        assert_eq!(take(&mut rest, 2), u64::from(answer.status));
        let flags = take(&mut rest, 1);
        assert_eq!(take(&mut rest, 1), 0);
        assert_eq!(take(&mut rest, 8), decision.retry_at_ms().unwrap_or(0));
        let lens: Vec<usize> = (0..6).map(|_| take(&mut rest, 4) as usize).collect();
        let count = take(&mut rest, 4) as usize;
        let headers: Vec<(usize, usize)> = (0..count)
            .map(|_| (take(&mut rest, 4) as usize, take(&mut rest, 4) as usize))
            .collect();
        let mut part = |len: usize| {
            let (part, after) = rest.split_at(len);
            rest = after;
            part
        };
        let headers: Vec<(&[u8], &[u8])> =
            headers.into_iter().map(|(name, value)| (part(name), part(value))).collect();
        let expected: Vec<(&[u8], &[u8])> = answer
            .headers
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_slice()))
            .collect();
        assert_eq!(headers, expected);
        let texts: Vec<&[u8]> = lens.into_iter().map(&mut part).collect();
        assert!(rest.is_empty());
        let route = decision
            .route()
            .and_then(|route| engine.policy().route(route))
            .map(|route| &*route.name);
        let store_error = decision.store_error().map(ToString::to_string);
        assert_eq!(texts[0], account.map_or("", AccountId::as_str).as_bytes());
        assert_eq!(texts[1], route.unwrap_or_default().as_bytes());
        assert_eq!(texts[2], store_error.as_deref().unwrap_or_default().as_bytes());
        assert_eq!(texts[4], decision.ticket().map(Layout::ticket).unwrap_or_default());
        assert_eq!(texts[5], answer.body);
        let shadows = decision.shadows();
        let is = [
            account.is_some(),
            route.is_some(),
            decision.ticket().is_some(),
            decision.retry_at_ms().is_some(),
            store_error.is_some(),
            shadows.spend_caps,
            shadows.networks,
        ];
        assert_eq!(flags, is.iter().rev().fold(0, |flags, is| flags * 2 + u64::from(*is)));
        assert_eq!(texts[3].is_empty(), shadows.limits == 0);
    }
}

fn take(rest: &mut &[u8], len: usize) -> u64 {
    let (number, after) = rest.split_at(len);
    *rest = after;
    number.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}
