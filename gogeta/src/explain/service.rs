//! Whose turn it is in a service, or the page that tells why nobody's.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::{Method, Request};

use super::{Outcome, Question, Verdict, Way, answered};
use crate::balance::{self, Pick};
use crate::proxy::error::ProxyError;
use crate::proxy::{local, vet};
use crate::routes::host::HostPort;
use crate::routes::key::{InstanceField, Key};
use crate::routes::model::{Domain, Instance, Service, Upstream};
use crate::status::State;

/// Turns of the ring that are told one by one.
const TURNS: usize = 20;

impl Way<'_> {
    pub(super) fn service(
        &mut self,
        question: &Question,
        request: &Request<()>,
        host: &HostPort<'_>,
        domain: Option<&Domain>,
        service: &Service,
    ) -> Verdict {
        let turns = service.ring.iter().fold(BTreeMap::<u16, usize>::new(), |mut turns, at| {
            *turns.entry(*at).or_default() += 1;
            turns
        });
        let taking = turns.len();
        let all = service.instances.len();
        self.ok("service", format!("{}: {taking} of {all} instances take requests", service.name));
        for (at, instance) in service.instances.iter().enumerate() {
            let turns = u16::try_from(at).ok().and_then(|at| turns.get(&at).copied());
            self.instance(instance, turns, service.ring.len());
        }
        self.problems(|key| matches!(key, Key::Instance { service: name, .. } if *name == service.name));
        match balance::peek(service, self.around.now) {
            Pick::Instance(instance, upstream) => {
                self.turn(service, instance);
                self.forward(question, request, host, domain, (instance, upstream))
            }
            Pick::Page(state, instance) => self.asleep(request, service, state, instance),
        }
    }

    /// Whether an instance is a candidate; `turns` are its own, of `all` in a round.
    fn instance(&mut self, instance: &Instance, turns: Option<usize>, all: usize) {
        let (index, state, why) = (&instance.index, instance.state.as_str(), instance.why());
        let place = instance.upstream.as_ref();
        let at = place.map_or_else(String::new, |place| format!(" at {}", place.location));
        let rests = place.and_then(|place| place.rest.left(self.around.now));
        let key =
            |field| Key::Instance { service: instance.service.clone(), index: instance.index.clone(), field };
        match (turns, rests) {
            (Some(turns), None) => {
                let share = if all > 1 { format!("; {turns} of {all} turns") } else { String::new() };
                let text = format!("{index}{at} is a candidate: {state} ({why}){share}");
                self.by(&key(InstanceField::Location), Outcome::Ok, "instance", text);
            }
            (Some(_), Some(left)) => {
                let text = format!(
                    "{index}{at} rests for {:.1} s more: it could not be connected to, and others take its turns \
                     while there are any",
                    std::time::Duration::from_millis(left).as_secs_f64()
                );
                self.by(&key(InstanceField::Location), Outcome::Warn, "instance", text);
            }
            (None, _) if instance.drained => {
                self.add(Outcome::Warn, "instance", format!("{index}{at} is skipped: {why}"));
            }
            (None, _) => {
                let nothing = instance.weight() == 0;
                let why = if nothing { format!("{why}; but its weight is 0") } else { why };
                let field = decisive(instance);
                let text = format!("{index}{at} is skipped: {state} ({why})");
                self.by(&key(field), Outcome::Info, "instance", text);
            }
        }
    }

    fn turn(&mut self, service: &Service, next: &Instance) {
        let index =
            |at: &u16| service.instances.get(usize::from(*at)).map_or("", |instance| &*instance.index);
        let mut order: Vec<&str> = service.ring.iter().take(TURNS).map(index).collect();
        if service.ring.len() > TURNS {
            order.push("..");
        }
        let text = match order.len() {
            1 => format!("there is one candidate: {}", next.index),
            _ => format!("round robin goes {}; the next request goes to {}", order.join(", "), next.index),
        };
        self.ok("turn", text);
    }

    fn forward(
        &mut self,
        question: &Question,
        request: &Request<()>,
        host: &HostPort<'_>,
        domain: Option<&Domain>,
        (instance, upstream): (&Arc<Instance>, &Arc<Upstream>),
    ) -> Verdict {
        if local::robots_text(self.around.config.default_robots, instance, request).is_some() {
            let key = Key::Instance {
                service: instance.service.clone(),
                index: instance.index.clone(),
                field: InstanceField::Config,
            };
            match &instance.config.robots {
                Some(_) => {
                    self.by(&key, Outcome::Stop, "robots", "the instance's own text answers /robots.txt")
                }
                None => self.add(Outcome::Stop, "robots", "--default-robots answers /robots.txt"),
            }
            return answered(http::StatusCode::OK, "a text for robots");
        }
        self.parking(request, domain, (instance, upstream));
        if *request.method() == Method::CONNECT {
            return self.tunnel(upstream);
        }
        self.headers(question, request, host, None);
        // A target like http://a.test?q has an empty path, which is sent as a slash (RFC 9112, 3.2.1).
        let uri = request.uri();
        let path = match (uri.path(), uri.query()) {
            ("*", _) => String::new(),
            (path, Some(query)) => format!("{path}?{query}"),
            (path, None) => path.to_owned(),
        };
        self.sent(format!("http://{}{path}", upstream.location))
    }

    /// Nobody is started.
    fn asleep(
        &mut self,
        request: &Request<()>,
        service: &Service,
        state: State,
        instance: Option<&Arc<Instance>>,
    ) -> Verdict {
        let best =
            instance.map_or_else(String::new, |best| format!(", which is that of instance {}", best.index));
        let text = format!("nobody takes requests; the best state is {}{best}", state.as_str());
        self.add(Outcome::Stop, "turn", text);
        let wakes = state == State::Passivated && vet::wakes(request);
        if let (State::Passivated, Some(instance)) = (state, instance) {
            let expected = Key::Instance {
                service: instance.service.clone(),
                index: instance.index.clone(),
                field: InstanceField::Expected,
            };
            let text = if wakes {
                "the request wakes it: it is expected to be started from now on"
            } else {
                "the request does not wake it: HEAD, robots.txt, favicon.ico and health checkers do not"
            };
            self.by(&expected, Outcome::Info, "wake", text);
        }
        let config = self.around.config;
        if (wakes || state == State::Starting) && !config.wake_hold.is_zero() {
            let hold = humantime::format_duration(config.wake_hold);
            self.info("hold", format!("the request waits up to {hold} for a started instance (--wake-hold)"));
        }
        let service = service.name.as_str().into();
        self.page(request, &ProxyError::NotStarted { service, state, instance: instance.cloned() })
    }
}

/// The key that keeps requests away from an instance.
fn decisive(instance: &Instance) -> InstanceField {
    let status = &instance.status;
    let is = |field: &Option<Box<str>>, text: &str| field.as_deref() == Some(text);
    match instance.state {
        State::Started if instance.upstream.is_none() => InstanceField::Location,
        State::Started => InstanceField::Config,
        _ if status.current.is_none() => InstanceField::Current,
        _ if is(&status.current, "started") && is(&status.expected, "started") => InstanceField::Alive,
        State::Stopped | State::Passivated => InstanceField::Expected,
        _ if status.expected.is_none() => InstanceField::Expected,
        _ => InstanceField::Current,
    }
}
