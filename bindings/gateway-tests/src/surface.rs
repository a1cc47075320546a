//! Scenarios through a gateway: requests over HTTP, administration on the LMDB store that it has open.

use std::collections::HashMap;
use std::io::Write;
use std::marker::PhantomData;
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use tollgate::{
    AccountId, AccountRef, Admin, Amount, Engine, Finish, PolicyConfig, ReservationId, Verdict,
};
use tollgate_lmdb::{LmdbOptions, LmdbStore, SyncPolicy};
use tollgate_scenario::{
    AccountStep, Decided, DepositStep, Finished, Header, InspectStep, LibrarySurface, Money,
    RequestStep, RevokeStep, RotateStep, StepError, Surface, Surfaces, TokenStep,
};

use crate::carry::{Asked, address, answer, late_answer, request_bytes};
use crate::client::{Client, Response};
use crate::gateway::{RunningGateway, Said, Told};
use crate::upstream::{Received, Upstream};

/// Starts a gateway for each scenario.
pub struct Scenarios<G>(PhantomData<fn() -> G>);

impl<G> Scenarios<G> {
    /// On gateways of this kind.
    #[must_use]
    pub fn new() -> Scenarios<G> {
        Scenarios(PhantomData)
    }
}

impl<G> Default for Scenarios<G> {
    fn default() -> Scenarios<G> {
        Scenarios::new()
    }
}

impl<G> Clone for Scenarios<G> {
    fn clone(&self) -> Scenarios<G> {
        *self
    }
}

impl<G> Copy for Scenarios<G> {}

/// What waits for a request's arrival at the upstream, by its number.
type Waiting = Mutex<HashMap<u64, Sender<Event>>>;

enum Event {
    Arrived(Received, TcpStream),
    Answered(Option<Response>),
}

/// One gateway with its store.
pub struct GatewaySurface<G> {
    gateway: G,
    _upstream: Upstream,
    waiting: Arc<Waiting>,
    admin: LibrarySurface,
    next: AtomicU64,
    clock: Clock,
    /// Requests are not ended by being forgotten.
    kept: Mutex<Vec<Open>>,
}

/// A request that waits at the upstream.
#[derive(Clone)]
pub struct Open(Arc<OpenParts>);

struct OpenParts {
    number: u64,
    asked: Asked,
    told: Told,
    upstream: Mutex<Option<TcpStream>>,
    answer: Mutex<std::sync::mpsc::Receiver<Event>>,
}

/// The clock of the whole gateway: requests with other times wait until nobody needs the present one.
#[derive(Default)]
struct Clock {
    users: Mutex<(u64, usize)>,
    free: Condvar,
}

impl Clock {
    fn at<G: RunningGateway, T>(&self, gateway: &G, now_ms: u64, work: impl FnOnce() -> T) -> T {
        let mut users = self.users.lock().unwrap();
        while users.1 > 0 && users.0 != now_ms {
            users = self.free.wait(users).unwrap();
        }
        *users = (now_ms, users.1 + 1);
        gateway.set_clock_ms(now_ms);
        drop(users);
        let done = work();
        self.users.lock().unwrap().1 -= 1;
        self.free.notify_all();
        done
    }
}

impl<G: RunningGateway> Surfaces for Scenarios<G> {
    type Surface = GatewaySurface<G>;

    fn start(&self, policy: PolicyConfig) -> Result<GatewaySurface<G>, StepError> {
        let text = serde_json::to_string(&policy).unwrap();
        let engine = Engine::new(policy.compile().map_err(StepError::of)?);
        let waiting: Arc<Waiting> = Arc::default();
        let arrivals = Arc::clone(&waiting);
        let upstream = Upstream::start(move |request, stream| {
            let number = request.header("x-test-id").and_then(|number| number.parse().ok());
            let waiter = number.and_then(|number: u64| arrivals.lock().unwrap().remove(&number));
            if let Some(waiter) = waiter {
                let _ = waiter.send(Event::Arrived(request.clone(), stream));
            }
        });
        let gateway = G::start_for_scenarios(&text, upstream.port());
        let mut lmdb = LmdbOptions::default();
        (lmdb.sync, lmdb.map_bytes) = (SyncPolicy::Never, 1 << 28);
        let store =
            LmdbStore::open(gateway.directory().join("db"), &lmdb).map_err(StepError::of)?;
        Ok(GatewaySurface {
            gateway,
            _upstream: upstream,
            waiting,
            admin: LibrarySurface::new(engine, Arc::new(store)),
            next: AtomicU64::new(1),
            clock: Clock::default(),
            kept: Mutex::default(),
        })
    }

    fn restart(&self, mut surface: GatewaySurface<G>) -> Result<GatewaySurface<G>, StepError> {
        surface.gateway.restart();
        Ok(surface)
    }

    fn keeps_state(&self) -> bool {
        true
    }
}

fn not_carried<T>(why: &str) -> Result<T, StepError> {
    Err(StepError::not_carried(why))
}

impl<G: RunningGateway> Surface for GatewaySurface<G> {
    type Open = Open;

    fn reload(&self, policy: PolicyConfig) -> Result<(), StepError> {
        let text = serde_json::to_string(&policy).unwrap();
        self.admin.reload(policy)?;
        self.gateway.replace_policy(&text);
        Ok(())
    }

    fn put_account(&self, step: AccountStep, now_ms: u64) -> Result<(), StepError> {
        self.admin.put_account(step, now_ms)
    }

    fn put_token(&self, step: TokenStep, now_ms: u64) -> Result<(), StepError> {
        self.admin.put_token(step, now_ms)
    }

    fn rotate(&self, step: &RotateStep, now_ms: u64) -> Result<(), StepError> {
        self.admin.rotate(step, now_ms)
    }

    fn revoke(&self, step: &RevokeStep, now_ms: u64) -> Result<(), StepError> {
        self.admin.revoke(step, now_ms)
    }

    fn deposit(&self, step: &DepositStep, now_ms: u64) -> Result<(), StepError> {
        self.admin.deposit(step, now_ms)
    }

    fn inspect(&self, step: &InspectStep, now_ms: u64) -> Result<Money, StepError> {
        self.admin.inspect(step, now_ms)
    }

    fn expire(&self, now_ms: u64) -> Result<u64, StepError> {
        self.admin.expire(now_ms)
    }

    fn decide(&self, step: &RequestStep) -> Result<Decided<Open>, StepError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let bytes = request_bytes(step, number, G::NAME)?;
        G::carries(step)?;
        self.clock.at(&self.gateway, step.now_ms, || self.ask(step, number, &bytes))
    }

    fn finish(&self, open: &Open, finish: Finish, now_ms: u64) -> Result<Finished, StepError> {
        if G::IS_TOLD {
            return self.clock.at(&self.gateway, now_ms, || self.tell(open, &finish));
        }
        let answer = answer(&open.0.asked, &finish)?;
        G::ends_at(now_ms)?;
        self.clock.at(&self.gateway, now_ms, || self.end(open, &answer))
    }

    fn resolve(
        &self,
        open: &Open,
        finish: Finish,
        now_ms: u64,
    ) -> Result<Option<Amount>, StepError> {
        let (account, reservation) = open.reservation()?;
        let store = self.admin.store();
        let settled = Admin::new(&**store).resolve(&account, reservation, finish, now_ms);
        Ok(settled.map_err(StepError::of)?.posted)
    }

    fn refund(
        &self,
        open: &Open,
        amount: Amount,
        reference: &str,
        now_ms: u64,
    ) -> Result<(), StepError> {
        let (account, reservation) = open.reservation()?;
        let store = self.admin.store();
        Admin::new(&**store)
            .refund(&AccountRef::Id(account), reservation, amount, reference, now_ms)
            .map_err(StepError::of)
    }

    fn late_headers(&self, open: &Open) -> Result<Vec<Header>, StepError> {
        if G::IS_TOLD {
            return Ok(self.pass_on(open)?.unwrap_or_default());
        }
        let answer = late_answer(&open.0.asked)?;
        Ok(self.end(open, &answer)?.headers.unwrap_or_default())
    }
}

impl Open {
    fn reservation(&self) -> Result<(AccountId, ReservationId), StepError> {
        match (&self.0.told.account, self.0.told.reservation) {
            (Some(account), Some(reservation)) => {
                Ok((AccountId::new(account).map_err(StepError::of)?, ReservationId(reservation)))
            }
            _ => Err(StepError::new("the gateway named no reservation")),
        }
    }
}

impl<G: RunningGateway> GatewaySurface<G> {
    fn ask(
        &self,
        step: &RequestStep,
        number: u64,
        bytes: &[u8],
    ) -> Result<Decided<Open>, StepError> {
        let (told, tells) = channel();
        self.waiting.lock().unwrap().insert(number, told.clone());
        let mut client = match address(step) {
            None => Client::connect_unix(&self.gateway.socket()),
            Some(peer) => {
                let mut client = Client::connect(self.gateway.port());
                client.write(&G::preamble(peer));
                client
            }
        };
        client.write(bytes);
        let method = String::from_utf8_lossy(step.method.as_ref()).into_owned();
        std::thread::spawn(move || drop(told.send(Event::Answered(client.read(&method).ok()))));
        let event = tells.recv_timeout(Duration::from_secs(30));
        self.waiting.lock().unwrap().remove(&number);
        match event {
            Ok(Event::Answered(Some(answer))) => {
                Ok(answered(self.gateway.said(step, &answer)?, answer))
            }
            Ok(Event::Answered(None)) => {
                not_carried(&format!("{} itself closes the connection", G::NAME))
            }
            Ok(Event::Arrived(request, stream)) => {
                let told = G::told(&request);
                let has_key = request.header("idempotency-key").is_some();
                let open = Open(Arc::new(OpenParts {
                    number,
                    asked: Asked {
                        method: step.method.as_ref().to_vec(),
                        claims_key: has_key && told.reservation.is_some(),
                        reserved: told.reserved.unwrap_or(0),
                    },
                    told: told.clone(),
                    upstream: Mutex::new(Some(stream)),
                    answer: Mutex::new(tells),
                }));
                self.kept.lock().unwrap().push(open.clone());
                Ok(Decided {
                    verdict: Verdict::Allow,
                    status: 200,
                    code: None,
                    headers: None,
                    body: Vec::new(),
                    account: told.account,
                    route: told.route,
                    reserved: told.reserved.map(Amount),
                    must_finish: told.reservation.is_some(),
                    open: Some(open),
                })
            }
            Err(error) => {
                Err(StepError::new(format!("{}: {error}: {}", G::NAME, self.gateway.error_log())))
            }
        }
    }

    /// Tells the gateway how a request ended, then lets the client have an answer.
    fn tell(&self, open: &Open, finish: &Finish) -> Result<Finished, StepError> {
        let ticket = open.0.told.ticket.as_deref();
        let settled = ticket.map(|ticket| self.gateway.settle(ticket, finish)).transpose()?;
        Ok(Finished { settled: settled.flatten(), headers: self.pass_on(open)? })
    }

    /// Answers for the upstream, where that was not done; gives the headers that the policy added.
    fn pass_on(&self, open: &Open) -> Result<Option<Vec<Header>>, StepError> {
        let Some(mut upstream) = open.0.upstream.lock().unwrap().take() else { return Ok(None) };
        let _ = upstream.write_all(&late_answer(&open.0.asked)?);
        drop(upstream);
        let event = open.0.answer.lock().unwrap().recv_timeout(Duration::from_secs(30));
        match event {
            Ok(Event::Answered(Some(answer))) => Ok(Some(policy_headers(answer.headers))),
            _ => Err(StepError::new(format!(
                "no answer of {}: {}",
                G::NAME,
                self.gateway.error_log()
            ))),
        }
    }

    /// Answers for the upstream, and reads what the client gets.
    fn end(&self, open: &Open, answer: &[u8]) -> Result<Finished, StepError> {
        let Some(mut upstream) = open.0.upstream.lock().unwrap().take() else {
            return not_carried("over HTTP a request ends once");
        };
        let begin = self.gateway.error_log().len();
        let _ = upstream.write_all(answer);
        drop(upstream);
        let event = open.0.answer.lock().unwrap().recv_timeout(Duration::from_secs(30));
        let Ok(Event::Answered(Some(answer))) = event else {
            let log = self.gateway.error_log();
            return Err(StepError::new(format!("no answer of {}: {log}", G::NAME)));
        };
        let line = format!("{}|", open.0.number);
        let end = Instant::now() + Duration::from_secs(10);
        let settled = loop {
            let log = self.gateway.access_log();
            let found = log.lines().find_map(|entry| entry.strip_prefix(&line)?.strip_suffix('|'));
            match found {
                Some(settled) => break settled.parse::<u64>().ok().map(Amount),
                None if Instant::now() > end => {
                    return Err(StepError::new(format!("not in the access log: {line}: {log}")));
                }
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        let log = self.gateway.error_log();
        let new = log.get(begin..).unwrap_or_default();
        if let Some(why) = G::not_settled(new) {
            return Err(StepError::new(why));
        }
        Ok(Finished { settled, headers: Some(policy_headers(answer.headers)) })
    }
}

fn answered(said: Said, answer: Response) -> Decided<Open> {
    Decided {
        verdict: said.verdict,
        status: answer.status,
        code: said.code,
        body: answer.body,
        account: said.account,
        route: said.route,
        reserved: None,
        must_finish: false,
        open: None,
        headers: Some(policy_headers(answer.headers)),
    }
}

/// Without what is the gateway's own, or this file's.
fn policy_headers(mut headers: Vec<Header>) -> Vec<Header> {
    let own = ["server", "date", "connection", "content-length", "transfer-encoding"];
    headers.retain(|(name, _)| {
        let name = name.to_ascii_lowercase();
        !name.starts_with("x-t-")
            && !name.starts_with("x-tollgate-")
            && !own.contains(&name.as_str())
    });
    headers
}
