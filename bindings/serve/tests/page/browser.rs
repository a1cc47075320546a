//! A small browser: cookies, forms, and no script.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::html::{self, Element};
use crate::site::{OPERATOR, Site};

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub text: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let named = self.headers.iter().find(|(given, _)| given.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str())
    }

    pub(crate) fn page(&self) -> Element {
        html::parse(&self.text)
    }

    /// The form that is sent to this path, which may go on with a query.
    pub(crate) fn form(&self, action: &str) -> Form {
        let page = self.page();
        let sent_there = |form: &&&Element| {
            form.attribute("action")
                .is_some_and(|given| given == action || given.split('?').next() == Some(action))
        };
        let forms = page.tags("form");
        let form = forms.iter().find(sent_there);
        Form::of(form.unwrap_or_else(|| panic!("no form to {action}:\n{}", self.text)))
    }

    pub(crate) fn redirects_to(&self) -> &str {
        assert_eq!(self.status, 303, "{}", self.text);
        self.header("location").unwrap()
    }
}

/// A form as it is on a page.
#[derive(Clone, Debug)]
pub(crate) struct Form {
    pub action: String,
    pub fields: Vec<(String, String)>,
}

impl Form {
    fn of(form: &Element) -> Form {
        let mut fields = Vec::new();
        for element in form.all() {
            let Some(name) = element.attribute("name") else { continue };
            let value = element.attribute("value").unwrap_or_default();
            let is_box = element.attribute("type") == Some("checkbox");
            let value = match element.tag.as_str() {
                "input" if is_box && element.attribute("checked").is_none() => continue,
                "textarea" => element.text.as_str(),
                "select" => {
                    let options = element.tags("option");
                    let chosen =
                        options.iter().find(|option| option.attribute("selected").is_some());
                    let chosen = chosen.or(options.first());
                    fields.push((
                        name.to_owned(),
                        chosen
                            .and_then(|option| option.attribute("value"))
                            .unwrap_or_default()
                            .to_owned(),
                    ));
                    continue;
                }
                _ => value,
            };
            fields.push((name.to_owned(), value.to_owned()));
        }
        Form { action: form.attribute("action").unwrap().to_owned(), fields }
    }

    /// With another value, or one more.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Form {
        match self.fields.iter_mut().find(|(given, _)| given == name && given != "scopes") {
            Some((_, old)) => value.clone_into(old),
            None => self.fields.push((name.to_owned(), value.to_owned())),
        }
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Form {
        self.fields.retain(|(given, _)| given != name);
        self
    }

    pub(crate) fn value(&self, name: &str) -> &str {
        self.fields.iter().find(|(given, _)| given == name).map_or("", |(_, value)| value)
    }

    pub(crate) fn body(&self) -> String {
        form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.fields).finish()
    }
}

/// A browser that is logged in, or not.
pub(crate) struct Browser<'s> {
    pub site: &'s Site,
    pub cookie: Option<String>,
}

impl<'s> Browser<'s> {
    pub(crate) fn new(site: &'s Site) -> Self {
        Browser { site, cookie: None }
    }

    pub(crate) fn logged_in(site: &'s Site) -> Self {
        let mut browser = Browser::new(site);
        let answer = browser.log_in(OPERATOR);
        assert_eq!(answer.status, 303, "{}", answer.text);
        browser
    }

    pub(crate) fn log_in(&mut self, token: &str) -> Answer {
        let form = self.get("/settings/login").form("/settings/login").with("token", token);
        self.send(&form)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "")
    }

    /// Sends a form as a browser does, and keeps cookies.
    pub(crate) fn send(&mut self, form: &Form) -> Answer {
        let origin = format!("http://{}", self.site.admin);
        let headers = [("origin", origin.as_str()), ("sec-fetch-site", "same-origin")];
        let answer = self.post(form, &headers);
        if let Some(cookie) = answer.header("set-cookie") {
            self.cookie = cookie.split(';').next().map(str::to_owned);
        }
        answer
    }

    /// Sends a form and follows to the next page.
    pub(crate) fn sent(&mut self, form: &Form) -> Answer {
        let answer = self.send(form);
        let next = answer.redirects_to().to_owned();
        let answer = self.get(&next);
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer
    }

    pub(crate) fn post(&self, form: &Form, headers: &[(&str, &str)]) -> Answer {
        let mut headers = headers.to_vec();
        headers.push(("content-type", "application/x-www-form-urlencoded"));
        self.ask("POST", &form.action, &headers, &form.body())
    }

    pub(crate) fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut headers = headers.to_vec();
        if let Some(cookie) = &self.cookie {
            headers.push(("cookie", cookie));
        }
        send(self.site.admin, method, path, &headers, body.as_bytes())
    }
}

/// One request on a connection of its own.
pub(crate) fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(&request(&address.to_string(), method, path, headers, body)).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    answer(&bytes)
}

pub(crate) fn request(
    host: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if method != "GET" && method != "HEAD" {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

pub(crate) fn answer(bytes: &[u8]) -> Answer {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("no head");
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: Vec<(String, String)> = lines
        .map(|line| line.split_once(':').unwrap())
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let text = String::from_utf8(bytes[end + 4..].to_vec()).unwrap();
    Answer { status, headers, text }
}
