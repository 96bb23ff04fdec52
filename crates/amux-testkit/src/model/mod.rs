//! The vendors of models, faked on loopback, so that the real agents run in tests without a network. What the fake
//! says follows from words in the last text of the user (`turn.rs`) or from a script of the test; every request is
//! kept for the test to look at. `cli.rs` has what each agent needs to talk to it.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

pub use turn::{Asked, Call, Does, Reply, Text, Tool};

mod anthropic;
pub mod cli;
mod gemini;
mod http;
mod openai;
mod turn;

/// What a test prescribes; None leaves the answer to the words in the request.
pub type Script = Box<dyn Fn(&Asked) -> Option<Reply> + Send + Sync>;

/// A fake model server. It stops when dropped.
pub struct Model {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

/// A request as it came, and what was understood of it.
#[derive(Clone, Debug)]
pub struct Request {
    /// Without the query.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Value,
    pub asked: Asked,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A turn of the conversation that offers its tools, and no counting, listing or aside.
    pub fn is_conversation(&self) -> bool {
        !self.asked.is_aside()
    }
}

impl std::fmt::Display for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Asked { model, user_text, tool_output, messages, tools, .. } = &self.asked;
        let aside = if self.is_conversation() { "" } else { " aside" };
        write!(f, "{}{aside} model={model} messages={messages} tools={} said={user_text:?}", self.path, tools.len())?;
        tool_output.iter().try_for_each(|output| write!(f, " output={output:?}"))
    }
}

impl Model {
    pub fn start() -> io::Result<Model> {
        Model::on(0, None)
    }

    pub fn scripted(script: impl Fn(&Asked) -> Option<Reply> + Send + Sync + 'static) -> io::Result<Model> {
        Model::on(0, Some(Box::new(script)))
    }

    /// Port 0 is any free one.
    pub fn on(port: u16, script: Option<Script>) -> io::Result<Model> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { script, ..Shared::default() });
        let acceptor = std::thread::spawn({
            let shared = shared.clone();
            move || accept(&listener, &shared)
        });
        Ok(Model { address, shared, acceptor: Some(acceptor) })
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The newest `REQUESTS_MAX` of them, oldest first.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests().iter().cloned().collect()
    }

    /// The first request that is what the test waits for, however long ago it came.
    pub fn wait_for_request(&self, is_it: impl Fn(&Request) -> bool, timeout: Duration) -> Option<Request> {
        let deadline = Instant::now() + timeout;
        let mut requests = self.shared.requests();
        loop {
            if let Some(request) = requests.iter().find(|request| is_it(request)) {
                return Some(request.clone());
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            requests = self.shared.arrived.wait_timeout(requests, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Hands over each request as it comes, for a person who watches.
    pub fn watch(&self, mut see: impl FnMut(&Request)) -> ! {
        let mut seen = 0;
        let mut requests = self.shared.requests();
        loop {
            let total = self.shared.counted.load(Ordering::Relaxed);
            let missed = usize::try_from(total - seen).unwrap_or(usize::MAX).min(requests.len());
            let unseen: Vec<Request> = requests.iter().skip(requests.len() - missed).cloned().collect();
            seen = total;
            drop(requests);
            unseen.iter().for_each(&mut see);
            requests = self.shared.requests();
            while self.shared.counted.load(Ordering::Relaxed) == seen {
                requests = self.shared.arrived.wait(requests).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, Ordering::SeqCst);
        // Wakes the acceptor, which sees that it is over.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

/// A test asks for far less; the binary runs for days.
const REQUESTS_MAX: usize = 1000;

#[derive(Default)]
struct Shared {
    script: Option<Script>,
    requests: Mutex<VecDeque<Request>>,
    arrived: Condvar,
    /// Of all requests, also those that are forgotten. Written under the lock of `requests`.
    counted: AtomicU64,
    /// Ids differ over the life of the server, as those of a vendor do.
    ids: AtomicU64,
    is_stopped: AtomicBool,
}

impl Shared {
    fn requests(&self) -> MutexGuard<'_, VecDeque<Request>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, request: Request) {
        let mut requests = self.requests();
        if requests.len() == REQUESTS_MAX {
            requests.pop_front();
        }
        requests.push_back(request);
        self.counted.fetch_add(1, Ordering::Relaxed);
        self.arrived.notify_all();
    }

    fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// Threads of connections end by themselves once their streams are shut.
fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut open: Vec<Arc<TcpStream>> = Vec::new();
    for stream in listener.incoming() {
        if shared.is_stopped.load(Ordering::SeqCst) {
            break;
        }
        let Ok(stream) = stream.map(Arc::new) else { continue };
        // One that only we hold is served to its end.
        open.retain(|stream| Arc::strong_count(stream) > 1);
        open.push(stream.clone());
        let shared = shared.clone();
        std::thread::spawn(move || {
            let _ = http::serve(&stream, |request, answer| respond(&shared, request, answer));
            let _ = stream.shutdown(Shutdown::Both);
        });
    }
    for stream in open {
        let _ = stream.shutdown(Shutdown::Both);
    }
}

/// Which vendor's words a path speaks.
#[derive(Clone, Copy)]
enum Dialect {
    Anthropic,
    Responses,
    Chat,
    Gemini,
}

impl Dialect {
    fn of(path: &str) -> Option<Dialect> {
        match path {
            "/v1/messages" => Some(Dialect::Anthropic),
            "/v1/responses" => Some(Dialect::Responses),
            "/v1/chat/completions" => Some(Dialect::Chat),
            _ if path.ends_with(":generateContent") || path.ends_with(":streamGenerateContent") => {
                Some(Dialect::Gemini)
            }
            _ => None,
        }
    }
}

fn respond(shared: &Shared, request: &http::Incoming, answer: http::Answer<'_>) -> io::Result<()> {
    let path = request.path();
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let dialect = Dialect::of(path);
    let asked = match dialect {
        Some(Dialect::Anthropic) => anthropic::read(&body),
        Some(Dialect::Responses) => openai::read_responses(&body),
        Some(Dialect::Chat) => openai::read_chat(&body),
        Some(Dialect::Gemini) => gemini::read(path, &body),
        None => Asked::default(),
    };
    shared.record(Request { path: path.to_owned(), headers: request.headers.clone(), body, asked: asked.clone() });
    let Some(dialect) = dialect else {
        let tokens = request.body.len() / 4;
        return match (request.method.as_str(), path) {
            ("POST", "/v1/messages/count_tokens") => answer.json(200, &json!({ "input_tokens": tokens })),
            ("POST", _) if path.ends_with(":countTokens") => answer.json(200, &json!({ "totalTokens": tokens })),
            ("GET", "/v1/models") => answer.json(200, &openai::models()),
            ("GET" | "HEAD", "/") => answer.json(200, &json!({})),
            _ => answer.json(404, &json!({ "error": { "message": "The fake does not know this path." } })),
        };
    };
    let reply = shared.script.as_ref().and_then(|script| script(&asked)).unwrap_or_else(|| turn::reply(&asked));
    let id = shared.next_id();
    match (dialect, &reply) {
        (Dialect::Anthropic, Reply::Fail { status }) => answer.json(*status, &anthropic::failure(*status)),
        (Dialect::Responses | Dialect::Chat, Reply::Fail { status }) => answer.json(*status, &openai::failure(*status)),
        (Dialect::Gemini, Reply::Fail { status }) => answer.json(*status, &gemini::failure(*status)),
        (Dialect::Anthropic, _) if asked.streams => anthropic::stream(answer.events()?, id, &asked, &reply),
        (Dialect::Responses, _) if asked.streams => openai::stream_response(answer.events()?, id, &asked, &reply),
        (Dialect::Chat, _) if asked.streams => openai::stream_chat(answer.events()?, id, &asked, &reply),
        (Dialect::Gemini, _) if asked.streams => gemini::stream(answer.events()?, id, &asked, &reply),
        (Dialect::Anthropic, _) => answer.json(200, &anthropic::whole(id, &asked, &reply)),
        (Dialect::Responses, _) => answer.json(200, &openai::whole_response(id, &asked, &reply)),
        (Dialect::Chat, _) => answer.json(200, &openai::whole_chat(id, &asked, &reply)),
        (Dialect::Gemini, _) => answer.json(200, &gemini::whole(id, &asked, &reply)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// A request on a connection of its own, and all that came back.
    fn post(model: &Model, path: &str, body: &Value) -> String {
        let body = body.to_string();
        let mut stream = send(
            model,
            &format!("POST {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len(),),
        );
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer that ends");
        answer
    }

    fn send(model: &Model, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(model.address).expect("the fake listens");
        stream.write_all(request.as_bytes()).expect("the fake reads");
        stream
    }

    fn anthropic(text: &str) -> Value {
        json!({
            "model": "m", "stream": true, "messages": [{ "role": "user", "content": text }],
            "tools": [{ "name": "Bash", "input_schema": { "properties": { "command": { "type": "string" } } } }],
        })
    }

    #[test]
    fn every_vendors_words_are_spoken_whole_and_as_a_stream() {
        let model = Model::start().expect("a port");
        let parameters = json!({ "type": "object", "properties": { "command": { "type": "string" } } });
        let chat = |stream: bool| {
            json!({
                "model": "m", "stream": stream, "messages": [{ "role": "user", "content": "hello" }],
                "tools": [{ "type": "function", "function": { "name": "bash", "parameters": parameters } }],
            })
        };
        let responses = |stream: bool| {
            json!({
                "model": "m", "stream": stream, "input": [{ "type": "message", "role": "user", "content": "hello" }],
                "tools": [{ "type": "function", "name": "exec_command", "parameters": parameters }],
            })
        };
        let gemini = json!({
            "contents": [{ "role": "user", "parts": [{ "text": "hello" }] }],
            "tools": [{ "functionDeclarations": [{ "name": "run_shell_command", "parameters": parameters }] }],
        });
        let mut whole = anthropic("hello");
        whole["stream"] = false.into();
        let cases = [
            ("/v1/messages?beta=true", anthropic("hello"), "event: message_stop"),
            ("/v1/messages", whole, "FAKE-REPLY: hello"),
            ("/v1/responses", responses(true), "event: response.completed"),
            ("/v1/responses", responses(false), "FAKE-REPLY: hello"),
            ("/v1/chat/completions", chat(true), "data: [DONE]"),
            ("/v1/chat/completions", chat(false), "FAKE-REPLY: hello"),
            ("/v1beta/models/m:streamGenerateContent?alt=sse", gemini.clone(), "\"finishReason\":\"STOP\""),
            ("/v1beta/models/m:generateContent", gemini.clone(), "FAKE-REPLY: hello"),
            ("/v1beta/models/m:countTokens", gemini, "totalTokens"),
            ("/v1/messages/count_tokens", anthropic("hello"), "input_tokens"),
        ];
        for (path, body, said) in cases {
            let answer = post(&model, path, &body);
            assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
            assert!(answer.contains(said), "{path}: {answer}");
        }
        assert!(model.requests().iter().take(8).all(|request| request.is_conversation() && request.asked.model == "m"));
    }

    #[test]
    fn an_ordered_error_has_its_status() {
        let model = Model::start().expect("a port");
        for status in [401, 429, 500, 529] {
            let answer = post(&model, "/v1/messages", &anthropic(&format!("ERR{status}")));
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        }
    }

    #[test]
    fn a_script_goes_before_the_words() {
        let model = Model::scripted(|asked| (asked.user_text == "knock").then(|| Reply::text("who is there")));
        let model = model.expect("a port");
        assert!(post(&model, "/v1/messages", &anthropic("knock")).contains("is there"));
        assert!(post(&model, "/v1/messages", &anthropic("ERR500")).starts_with("HTTP/1.1 500"));
    }

    #[test]
    fn a_kept_connection_carries_request_after_request_and_bodies_in_chunks() {
        let model = Model::start().expect("a port");
        let body = anthropic("in chunks").to_string();
        let (first, second) = body.split_at(20);
        let request = format!(
            "POST /v1/messages HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n",
            first.len(),
            second.len(),
        );
        let last = "GET /v1/models HTTP/1.1\r\nConnection: close\r\n\r\n";
        let mut answers = String::new();
        send(&model, &format!("{request}{request}{last}")).read_to_string(&mut answers).expect("answers that end");
        assert_eq!(answers.matches("event: message_stop").count(), 2, "{answers}");
        assert!(answers.contains("fake-model"));
        assert!(model.requests()[1].asked.user_text == "in chunks");
    }

    #[test]
    fn a_request_is_seen_while_its_answer_is_still_spoken() {
        let model = Model::start().expect("a port");
        let body = anthropic("SLOW:60000").to_string();
        let length = body.len();
        let open = send(&model, &format!("POST /v1/messages HTTP/1.1\r\ncontent-length: {length}\r\n\r\n{body}"));
        let seen = model.wait_for_request(|request| request.asked.user_text.contains("SLOW"), PATIENCE);
        assert_eq!(seen.expect("the request").header("content-length"), Some(length.to_string().as_str()));
        let mut answer = BufReader::new(open);
        let mut begun = String::new();
        while !begun.contains("message_start") {
            assert!(answer.read_line(&mut begun).expect("a line of the answer") > 0, "{begun}");
        }
        // Dropping the fake waits for no slow answer; the reader finds the end of the stream.
        drop(model);
        let mut rest = String::new();
        let _ = answer.read_to_string(&mut rest);
        assert!(!rest.contains("message_stop"), "{rest}");
    }
}
