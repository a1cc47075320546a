//! Requests: sent, decided step by step with faults between, and compared.

use tollgate::{
    AdmitVerdict, Amount, Command, Denial, Evaluation, Headers, LookedUp, Outcome, Request,
    ReservationId, Shadows, Status, StoreError, StoredResponse, Ticket, Verdict as Given,
};

use crate::catalogue::{
    AUTHORIZATIONS, BODIES, KEY_TEXTS, MALFORMED_KEY, NOWHERE, ROUTES, Rules, SENDERS, STRANGER,
    UNRECORDED,
};
use crate::ending::Run;
use crate::fault::Fault;
use crate::history::Claimed;
use crate::model::admit::{Asked, Key, Said, Standing, Verdict, Who, charge};
use crate::world::{BACK_MS, Checked, World, note, same};

/// How often a token is looked up for one request, at most.
const MAX_LOOK_UPS: u8 = 9;

/// The headers of a request.
pub(crate) struct Sent {
    authorization: Option<&'static str>,
    key: Option<&'static str>,
}

impl Headers for Sent {
    fn value(&self, name: &str, nth: usize) -> Option<&[u8]> {
        let value = match name {
            "authorization" => self.authorization,
            "idempotency-key" => self.key,
            _ => None,
        };
        value.filter(|_| nth == 0).map(str::as_bytes)
    }
}

/// A request on its way to a decision.
pub(crate) struct Call<'a> {
    evaluation: Evaluation<'a>,
    asked: Asked,
    /// What the model says of it so far.
    expected: Expected,
    standing: Standing,
    /// How often settings of its account, its token, and any token of the account had been changed when it was
    /// looked up.
    seen: (u64, u64, u64),
    look_ups: u8,
    /// Its client has gone, and its command is still on the way.
    alone: bool,
}

#[derive(Clone, Debug)]
enum Expected {
    /// Nothing yet.
    Nothing,
    LookUpFailed,
    AdmitFailed,
    Said(Said),
}

enum Question {
    LookUp,
    Admit,
}

type Answered = Result<Outcome, StoreError>;

impl<'a> World<'a> {
    /// A client sends a request, a new one or one that it has sent before.
    pub(crate) fn start(&mut self) -> Checked {
        let asked = self.ask();
        note!(self, "  request of {asked}");
        let catalogue = self.catalogue;
        let sent = self.arenas.sent.alloc(Sent {
            authorization: match asked.who {
                Who::Nobody => None,
                Who::Stranger => Some(STRANGER),
                Who::Token(token) => Some(AUTHORIZATIONS[token]),
            },
            key: match asked.key {
                Key::Absent => None,
                Key::Malformed => Some(MALFORMED_KEY),
                Key::Given(key) => Some(KEY_TEXTS[usize::from(key)]),
            },
        });
        let (method, target, _) = ROUTES[asked.route];
        let request = self.arenas.requests.alloc(Request {
            peer: catalogue.sources[asked.source],
            body: tollgate::Body::Bytes(BODIES[usize::from(asked.body)]),
            cost: asked.cost.map(Amount),
            sender: asked.sender.map(|sender| SENDERS[usize::from(sender)]),
            invalid: asked.invalid.then_some("a number is missing"),
            peek: asked.peek,
            ..Request::new(method.as_bytes(), target.as_bytes(), asked.now_ms).with_headers(sent)
        });
        let evaluation = catalogue.policies[asked.policy].engine.evaluate(request);
        let evaluation =
            if self.rng.u8(0..4) == 0 { evaluation.look_up_first() } else { evaluation };
        let call = Call {
            evaluation,
            asked,
            expected: Expected::Nothing,
            standing: Standing::Dead,
            seen: (0, 0, 0),
            look_ups: 0,
            alone: false,
        };
        if call.evaluation.command().is_none() {
            return self.decided(call);
        }
        if self.rng.u8(0..8) == 0 {
            self.calls.push(call);
            return Ok(());
        }
        self.go_on(call)
    }

    fn ask(&mut self) -> Asked {
        let (now_ms, policy) = (self.now_ms, self.policy);
        let rng = &mut self.rng;
        if !self.remembered.is_empty() && rng.u8(0..100) < 45 {
            let asked = self.remembered[rng.usize(0..self.remembered.len())];
            let body = if rng.u8(0..10) == 0 { 1 - asked.body } else { asked.body };
            return Asked { body, policy, now_ms, peek: rng.u8(0..16) == 0, ..asked };
        }
        let who = match rng.u8(0..40) {
            0 => Who::Nobody,
            1 => Who::Stranger,
            of => {
                // Mostly one that still works.
                let tokens = &self.model.tokens;
                let mut token = rng.usize(0..tokens.len());
                if of > 6 && !tokens[token].is_live(now_ms) {
                    token = rng.usize(0..tokens.len());
                }
                Who::Token(token)
            }
        };
        let key = match rng.u8(0..20) {
            0..3 => Key::Absent,
            3 => Key::Malformed,
            _ => Key::Given(rng.u8(0..KEY_TEXTS.len() as u8)),
        };
        let asked = Asked {
            who,
            route: if rng.u8(0..32) == 0 { NOWHERE } else { rng.usize(0..NOWHERE) },
            source: rng.usize(0..5),
            key,
            body: u8::from(rng.u8(0..10) == 0),
            cost: (rng.u8(0..3) == 0).then(|| rng.u64(0..12)),
            sender: (rng.u8(0..8) == 0).then(|| rng.u8(0..2)),
            invalid: rng.u8(0..24) == 0,
            peek: rng.u8(0..16) == 0,
            policy,
            now_ms,
        };
        if self.remembered.len() == 6 {
            self.remembered.pop_front();
        }
        self.remembered.push_back(asked);
        asked
    }

    /// A request that was begun asks the store.
    pub(crate) fn step(&mut self) -> Checked {
        let place = self.rng.usize(0..self.calls.len());
        let call = self.calls.swap_remove(place);
        note!(self, "  goes on: {}", call.asked);
        self.go_on(call)
    }

    fn go_on(&mut self, mut call: Call<'a>) -> Checked {
        if call.asked.now_ms + BACK_MS < self.latest_ms {
            self.hit(Fault::GivenUp);
            return Ok(());
        }
        if call.alone {
            return self.perform(&mut call, None).map(|_| ());
        }
        let failed = || StoreError::Unavailable { reason: "no answer".into() };
        let fault = self.roll();
        if let Some(fault) = fault
            && !matches!(fault, Fault::CommitRefused | Fault::CommitConflict)
        {
            self.hit(fault);
        }
        let answer = match fault {
            None | Some(Fault::CommitRefused | Fault::CommitConflict) => {
                self.perform(&mut call, fault)?
            }
            Some(Fault::ReplyLost) => {
                let _lost = self.perform(&mut call, None)?;
                Err(failed())
            }
            Some(Fault::Doubled) => {
                let _first = self.perform(&mut call, None)?;
                self.perform(&mut call, None)?
            }
            Some(Fault::Delayed) => {
                call.alone = true;
                self.calls.push(call);
                return Ok(());
            }
            Some(Fault::CrashBefore) => return Ok(()),
            Some(Fault::CrashAfter) => return self.perform(&mut call, None).map(|_| ()),
            Some(_) => Err(failed()),
        };
        if answer.is_err() {
            call.expected = match question(&call) {
                Some(Question::LookUp) => Expected::LookUpFailed,
                _ => Expected::AdmitFailed,
            };
        }
        call.evaluation.resume(answer);
        if call.evaluation.command().is_some() {
            self.calls.push(call);
            return Ok(());
        }
        self.decided(call)
    }

    /// The store performs what the evaluation asks, and the model does the same.
    fn perform(&mut self, call: &mut Call<'a>, fault: Option<Fault>) -> Checked<Answered> {
        let now_ms = call.asked.now_ms;
        let Some(command) = call.evaluation.command() else {
            return Err("there is nothing to ask".into());
        };
        let is_look_up = matches!(command, Command::Lookup(_));
        let faulty = self.totals.faults;
        let answer = match fault {
            Some(fault) => self.store_failing(&command, now_ms, fault),
            None => self.store(&command, now_ms),
        };
        let refused = faulty[Fault::CommitRefused as usize]
            != self.totals.faults[Fault::CommitRefused as usize];
        if refused {
            // Nothing was changed, and what was asked was not answered.
            let failed = matches!(answer, Err(StoreError::Unavailable { .. }));
            return if failed { Ok(answer) } else { Err(format!("a lost commit gave {answer:?}")) };
        }
        if is_look_up {
            self.looked_up(call, &answer)?
        } else {
            self.admitted(call, &answer)?
        }
        Ok(answer)
    }

    fn looked_up(&mut self, call: &mut Call<'a>, answer: &Answered) -> Checked {
        call.look_ups += 1;
        let Ok(Outcome::LookedUp(LookedUp { credential, admission })) = answer else {
            return Err(format!("a look-up was answered with {answer:?}"));
        };
        let Who::Token(token) = call.asked.who else {
            return same("a stranger's credential", credential.is_some(), false);
        };
        let Some(credential) = credential else { return Err("a token is not known".into()) };
        let one = &self.model.tokens[token];
        let account = &self.model.accounts[one.account];
        same("the token's account", &credential.account, &self.refs[one.account])?;
        same("whether it is revoked", credential.revoked, one.revoked)?;
        call.seen = (account.changes, one.changes, account.changes_of_tokens);
        let rules = &self.catalogue.policies[call.asked.policy].rules;
        call.standing = self.model.standing(token, rules, &call.asked);
        note!(self, "      look-up: {:?}, revision {}", call.standing, credential.revision);
        if let Some(admission) = admission {
            let may = matches!(call.standing, Standing::Fine { .. });
            same("whether a look-up may admit at once", may, true)?;
            self.compare_admission(call, token, rules, admission)?;
        }
        Ok(())
    }

    fn admitted(&mut self, call: &mut Call<'a>, answer: &Answered) -> Checked {
        let Who::Token(token) = call.asked.who else {
            return Err("a stranger came to be admitted".into());
        };
        let holder = self.model.tokens[token].account;
        let account = &self.model.accounts[holder];
        let (own, tokens, of_account) =
            (self.model.tokens[token].changes, account.changes_of_tokens, account.changes);
        let must = (of_account, own) != (call.seen.0, call.seen.1);
        let rules = &self.catalogue.policies[call.asked.policy].rules;
        match answer {
            Ok(Outcome::Admission(admission)) => {
                if matches!(admission.verdict, AdmitVerdict::CredentialChanged) {
                    let may = must || tokens != call.seen.2;
                    self.totals.looked_up_again += 1;
                    note!(
                        self,
                        "      admission: the account was changed, so it is looked up again"
                    );
                    call.expected = Expected::Nothing;
                    return same("whether anything was changed since the look-up", may, true);
                }
                same("whether a change since the look-up was seen", must, false)?;
                self.make_room(token, rules, &call.asked, &admission.verdict)?;
                self.compare_admission(call, token, rules, admission)
            }
            Err(StoreError::Full { .. }) => {
                self.hit(Fault::Full);
                call.expected = Expected::AdmitFailed;
                self.refused_room(call, token, rules)
            }
            _ => Err(format!("an admission was answered with {answer:?}")),
        }
    }

    /// Where there was no room, the store has ended all that was due before it took one more.
    fn make_room(
        &mut self,
        token: usize,
        rules: &Rules,
        asked: &Asked,
        verdict: &AdmitVerdict,
    ) -> Checked {
        if !matches!(verdict, AdmitVerdict::Admitted { reservation: Some(_) }) {
            return Ok(());
        }
        let account = self.model.tokens[token].account;
        self.model.accounts[account].pass(asked.now_ms);
        if self.model.is_full(account, asked, rules) {
            self.model.expire(asked.now_ms);
            self.touched = [true; 2];
        }
        same(
            "whether the store took more than its bounds",
            self.model.is_full(account, asked, rules),
            false,
        )
    }

    /// Only what would have passed is refused for want of room, and only when there is none.
    fn refused_room(&mut self, call: &Call<'a>, token: usize, rules: &Rules) -> Checked {
        let (asked, account) = (&call.asked, self.model.tokens[token].account);
        self.model.expire(asked.now_ms);
        self.touched = [true; 2];
        let observes = !matches!(call.standing, Standing::Fine { .. });
        let said = self.model.clone().admit(token, rules, asked, observes);
        let passes = matches!(said.verdict, Verdict::Admitted { number: Some(_) });
        same("whether a refusal for room would have passed", passes, true)?;
        same("whether the store is full", self.model.is_full(account, asked, rules), true)
    }

    fn compare_admission(
        &mut self,
        call: &mut Call<'a>,
        token: usize,
        rules: &Rules,
        given: &tollgate::Admission,
    ) -> Checked {
        let asked = call.asked;
        let account = self.model.tokens[token].account;
        self.touched[account] = true;
        let observes = !matches!(call.standing, Standing::Fine { .. });
        let said = self.model.admit(token, rules, &asked, observes);
        note!(self, "      admission: {:?}", given.verdict);
        match (&given.verdict, &said.verdict) {
            (AdmitVerdict::Admitted { reservation }, Verdict::Admitted { number }) => {
                same("the reservation", *reservation, number.map(ReservationId))?;
            }
            (AdmitVerdict::Denied(given), Verdict::Denied(expected)) => {
                same("the denial", given, expected)?;
            }
            (AdmitVerdict::Replay(given), Verdict::Replay(expected)) => {
                self.compare_response(given, *expected)?;
            }
            (given, expected) => {
                return Err(format!("the verdict:\n  expected {expected:?}\n  but was  {given:?}"));
            }
        }
        if !observes && !matches!(said.verdict, Verdict::Denied(_)) {
            self.history.passed(token)?;
        }
        same("the tightest limit", given.tightest, said.tightest)?;
        same("the shadows", given.shadows, said.shadows)?;
        if let Verdict::Admitted { number: Some(number) } = said.verdict {
            self.history.numbered(account, number)?;
            self.claimed(&asked, rules, account, number)?;
        }
        call.expected = Expected::Said(said);
        Ok(())
    }

    fn claimed(&mut self, asked: &Asked, rules: &Rules, account: usize, number: u64) -> Checked {
        let route = &rules.routes[asked.route];
        let (Some(rule), Key::Given(key)) = (route.key, asked.key) else { return Ok(()) };
        self.history.claimed(&Claimed {
            account,
            route: asked.route,
            key,
            number,
            now_ms: asked.now_ms,
            lease_ms: route.lease_ms,
            retention_ms: rule.retention_ms,
            rerun: rule.rerun,
        })
    }

    /// A replay is the stored response, byte for byte.
    fn compare_response(&self, given: &StoredResponse, number: u8) -> Checked {
        if number == UNRECORDED {
            let unrecorded = StoredResponse { status: 200, headers: Box::default(), body: None };
            return same("what is replayed of an unrecorded response", given, &unrecorded);
        }
        let expected = &*self.catalogue.responses[usize::from(number)];
        if given == expected {
            return Ok(());
        }
        let text = |one: &StoredResponse| {
            one.body.as_ref().map(|body| String::from_utf8_lossy(body).into_owned())
        };
        let both = (text(given), text(expected));
        Err(format!(
            "the replay: expected {expected:?} {:?}, but was {given:?} {:?}",
            both.1, both.0
        ))
    }

    /// The engine's decision against what the model said at its last step.
    fn decided(&mut self, call: Call<'a>) -> Checked {
        let Call { evaluation, asked, expected, standing, look_ups, .. } = call;
        let decision = evaluation.into_decision();
        note!(self, "      decision: {}", decision.status().code());
        self.totals.decided(decision.status());
        self.totals.compared += 1;
        let rules = &self.catalogue.policies[asked.policy].rules;
        let status = match (&expected, asked.who) {
            (_, Who::Nobody) => Status::MissingToken,
            (Expected::LookUpFailed, _) => Status::StoreUnavailable,
            (_, Who::Stranger) => Status::InvalidToken,
            _ => match standing {
                _ if look_ups >= MAX_LOOK_UPS && matches!(expected, Expected::Nothing) => {
                    Status::StoreUnavailable
                }
                Standing::Dead => Status::InvalidToken,
                Standing::Outside => Status::IpNotAllowed,
                Standing::NotGranted => Status::InsufficientScope,
                Standing::Fine { .. } => status(&expected, rules, &asked)?,
            },
        };
        same("the decision", decision.status(), status)?;
        let Expected::Said(said) = expected else {
            same("a ticket without a store", decision.ticket(), None)?;
            self.totals.executions += u64::from(decision.verdict() == Given::Allow);
            return Ok(());
        };
        let Who::Token(token) = asked.who else { return Ok(()) };
        let account = self.model.tokens[token].account;
        same("the decision's account", decision.account(), Some(&self.refs[account]))?;
        same("the decision's limit", decision.limit(), said.tightest.as_ref())?;
        let networks = match standing {
            Standing::Fine { shadow_networks } => shadow_networks,
            _ => rules.shadow_networks && decision.shadows().networks,
        };
        let shadows = Shadows { networks, ..said.shadows };
        same("the decision's shadows", *decision.shadows(), shadows)?;
        let is_fine = matches!(standing, Standing::Fine { .. });
        let denial = match &said.verdict {
            Verdict::Denied(denial) if is_fine && *denial != Denial::ValidationFailed => {
                Some(denial)
            }
            _ => None,
        };
        same("the decision's denial", decision.denial(), denial)?;
        let number = match said.verdict {
            Verdict::Admitted { number } => number,
            _ => None,
        };
        let ticket = number.map(|number| Ticket {
            account: self.refs[account].clone(),
            reservation: ReservationId(number),
            reserved: Amount(said.reserved),
            holds_key: self.holds_key(account, number),
        });
        same("the ticket", decision.ticket(), ticket.as_ref())?;
        match decision.verdict() {
            Given::Replay => {
                let answer = self.catalogue.policies[asked.policy].engine.answer(&decision);
                let Some(stored) = decision.replay() else {
                    return Err("a replay of nothing".into());
                };
                same("the status of a replay", answer.status, stored.status)?;
                same(
                    "the body of a replay",
                    &answer.body[..],
                    stored.body.as_deref().unwrap_or_default(),
                )
            }
            Given::Allow if !asked.peek => {
                self.totals.executions += 1;
                if let Some(number) = number {
                    self.history.executed(account, number)?;
                    self.run(Run { account, number, reserved: said.reserved, told: None });
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn holds_key(&self, account: usize, number: u64) -> bool {
        self.model.accounts[account].reservation(number).is_some_and(|one| one.claim.is_some())
    }
}

fn question(call: &Call<'_>) -> Option<Question> {
    Some(match call.evaluation.command()? {
        Command::Lookup(_) => Question::LookUp,
        _ => Question::Admit,
    })
}

/// The status of a request that its token and account let through.
fn status(expected: &Expected, rules: &Rules, asked: &Asked) -> Checked<Status> {
    match expected {
        Expected::Said(said) => Ok(match &said.verdict {
            Verdict::Admitted { .. } => Status::Allowed,
            Verdict::Replay(_) => Status::Replayed,
            Verdict::Denied(denial) => status_of(denial),
        }),
        Expected::AdmitFailed => {
            // It passes without the store only where all that it needs is open, and money never is.
            let route = &rules.routes[asked.route];
            let needs = charge(rules, asked) > 0
                || asked.sender.is_some()
                || (route.key.is_some_and(|key| key.required || asked.key != Key::Absent));
            let open = route.limits.iter().all(|limit| limit.open || limit.shadow);
            Ok(match (needs || !open, asked.invalid) {
                (true, _) => Status::StoreUnavailable,
                (false, true) => Status::ValidationFailed,
                (false, false) => Status::Allowed,
            })
        }
        _ => Err("the decision came before the store was asked".into()),
    }
}

fn status_of(denial: &Denial) -> Status {
    match denial {
        Denial::RateLimited { .. } => Status::RateLimited,
        Denial::InFlight => Status::IdempotencyInFlight,
        Denial::KeyReused => Status::IdempotencyKeyReused,
        Denial::KeyInvalid => Status::IdempotencyKeyInvalid,
        Denial::SenderNotApproved => Status::SenderNotApproved,
        Denial::ValidationFailed => Status::ValidationFailed,
        Denial::SpendCapExceeded { .. } => Status::SpendCapExceeded,
        Denial::InsufficientBalance { .. } => Status::InsufficientBalance,
        _ => Status::StoreUnavailable,
    }
}
