//! What the machines of claude, of codex and of one process per turn promise where no recording happens to show it.

use amux_agents::claude::Claude;
use amux_agents::codex::Codex;
use amux_agents::once::{Format, Once};
use amux_agents::{Begin, How, Machine, Order, Out, Refused, Session};
use amux_proto::Time;
use amux_proto::entity::{Answer, RequestOptionKind};
use amux_proto::transcript::{FailureClass, InputStage, Item, Opened, PlanStatus, Trigger, TurnEnd};
use serde_json::{Value, json};

struct Talk {
    machine: Machine,
    items: Vec<Item>,
    writes: Vec<Value>,
}

impl Talk {
    fn new(machine: Machine, session: Session) -> Self {
        let mut talk = Self { machine, items: Vec::new(), writes: Vec::new() };
        let begin = Begin { cwd: "/home/u/proj".to_owned(), session, lost: None, model: None, mode: None, mcp: None };
        talk.order(&Order::Begin(begin)).expect("a run begins");
        talk
    }

    /// With an open thread `T`.
    fn codex() -> Self {
        let mut talk = Self::new(Machine::Codex(Codex::default()), Session::New { id: "x".to_owned() });
        talk.hear(&json!({ "id": 1, "result": {} }));
        talk.hear(&json!({ "id": 2, "result": { "thread": { "id": "T" } } }));
        talk.take();
        talk
    }

    /// With turn `t1` running, which contains input `i1`.
    fn codex_in_turn() -> Self {
        let mut talk = Self::codex();
        talk.input("i1", How::Next);
        talk.hear(&json!({ "id": 3, "result": { "turn": { "id": "t1" } } }));
        talk.turn("started", "t1", "inProgress");
        talk.take();
        talk
    }

    /// With conversation `S`, in turn 1, which contains input `i1`.
    fn claude_in_turn() -> Self {
        let mut talk = Self::new(Machine::Claude(Claude::default()), Session::New { id: "S".to_owned() });
        talk.hear(
            &json!({ "type": "control_response", "response": { "subtype": "success", "request_id": "agentmux-1" } }),
        );
        talk.input("i1", How::Next);
        talk.hear(&claude_init());
        talk.take();
        talk
    }

    fn claude_asks(&mut self, id: &str, tool: &str, input: Value) {
        let request = json!({ "subtype": "can_use_tool", "tool_name": tool, "input": input });
        self.hear(&json!({ "type": "control_request", "request_id": id, "request": request }));
    }

    fn claude_result(&mut self, is_error: bool, more: Value) {
        let mut result = json!({ "type": "result", "subtype": "success", "is_error": is_error, "session_id": "S" });
        result.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.hear(&result);
    }

    fn says(&mut self, ask: &str, text: &str) -> Result<(), Refused> {
        self.order(&Order::Answer { ask: ask.to_owned(), answer: Answer::Text { text: text.to_owned() } })
    }

    fn once(session: Session, resume: Option<&str>) -> Self {
        let argv = |words: &str| words.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let fresh = argv("cli -m {model} --id {session} -p {prompt}");
        Self::new(Machine::Once(Once::new(Format::Codex, fresh, resume.map(argv))), session)
    }

    fn hear(&mut self, frame: &Value) {
        self.hear_line(&frame.to_string());
    }

    fn hear_line(&mut self, line: &str) {
        let mut out = Out::default();
        self.machine.hear(line, Time(0), &mut out);
        self.keep(out);
    }

    fn order(&mut self, order: &Order) -> Result<(), Refused> {
        let mut out = Out::default();
        let done = self.machine.order(order, Time(0), &mut out);
        self.keep(out);
        done
    }

    fn keep(&mut self, out: Out) {
        self.items.extend(out.items);
        self.writes.extend(out.writes.iter().map(|write| serde_json::from_str(&write.line).expect("a frame")));
    }

    fn take(&mut self) -> (Vec<Item>, Vec<Value>) {
        (std::mem::take(&mut self.items), std::mem::take(&mut self.writes))
    }

    fn input(&mut self, input: &str, how: How) {
        let text = format!("text of {input}");
        self.order(&Order::Input { parts: Vec::new(), input: input.to_owned(), text, how }).expect("an input is kept");
    }

    fn turn(&mut self, what: &str, id: &str, status: &str) {
        let params = json!({ "threadId": "T", "turn": { "id": id, "status": status } });
        self.hear(&json!({ "method": format!("turn/{what}"), "params": params }));
    }

    fn option(&mut self, ask: &str, option: &str) -> Result<(), Refused> {
        let answer = Answer::Option { option: option.to_owned(), text: None };
        self.order(&Order::Answer { ask: ask.to_owned(), answer })
    }

    fn relay(&mut self, turn: &str, code: i64, stderr: &str, lines: &[Value]) {
        self.hear(&json!({ "agentmux": { "turn": turn, "pid": 7 } }));
        lines.iter().for_each(|line| self.hear(line));
        self.hear(&json!({ "agentmux": { "turn": turn, "code": code, "signal": null, "stderr": stderr } }));
    }
}

fn stages(items: &[Item], of: &str) -> Vec<InputStage> {
    let stage = |item: &Item| match item {
        Item::InputStage { input, stage, .. } if input == of => Some(*stage),
        _ => None,
    };
    items.iter().filter_map(stage).collect()
}

fn methods(writes: &[Value]) -> Vec<&str> {
    writes.iter().map(|write| write["method"].as_str().unwrap_or("answer")).collect()
}

fn ends(items: &[Item]) -> usize {
    items.iter().filter(|item| matches!(item, Item::TurnEnded { .. })).count()
}

const WHOLE: [InputStage; 3] = [InputStage::Shown, InputStage::Begun, InputStage::Ended];

#[test]
fn inputs_that_come_before_the_conversation_is_open_are_put_in_order() {
    let mut talk = Talk::new(Machine::Codex(Codex::default()), Session::New { id: "x".to_owned() });
    talk.input("i1", How::Next);
    talk.input("i2", How::Steer);
    talk.hear(&json!({ "id": 1, "result": {} }));
    talk.hear(&json!({ "id": 2, "result": { "thread": { "id": "T" } } }));
    talk.turn("started", "t1", "inProgress");
    let (_, writes) = talk.take();
    assert_eq!(methods(&writes), ["initialize", "initialized", "thread/start", "turn/start", "turn/steer"]);
    assert_eq!(writes[3]["params"]["clientUserMessageId"], "i1");
    assert_eq!(writes[4]["params"]["expectedTurnId"], "t1");
}

#[test]
fn a_turn_that_ends_before_its_request_is_answered_stays_ended() {
    let mut talk = Talk::codex();
    talk.input("i1", How::Next);
    talk.turn("completed", "t1", "completed");
    talk.hear(&json!({ "id": 3, "result": { "turn": { "id": "t1", "status": "inProgress" } } }));
    talk.turn("started", "t1", "inProgress");
    let (items, _) = talk.take();
    assert_eq!(stages(&items, "i1"), WHOLE);
    assert_eq!(ends(&items), 1);
    assert!(talk.machine.is_idle());
}

#[test]
fn an_input_refused_because_a_turn_is_active_is_put_again_when_it_is_over() {
    let mut talk = Talk::codex();
    talk.input("i1", How::Next);
    talk.hear(&json!({ "id": 3, "error": { "code": -32600, "message": "Turn already active" } }));
    assert_eq!(methods(&talk.take().1), ["turn/start"]);
    talk.turn("started", "other", "inProgress");
    talk.turn("completed", "other", "completed");
    assert_eq!(methods(&talk.take().1), ["turn/start"]);
    talk.turn("started", "t1", "inProgress");
    let items = talk.take().0;
    assert_eq!(stages(&items, "i1"), WHOLE[..2]);
    assert!(!items.iter().any(|item| matches!(item, Item::Input { .. })), "it is told once that it was put");
}

#[test]
fn an_input_that_joins_a_turn_which_began_by_itself_is_begun_in_that_turn() {
    let mut talk = Talk::codex();
    talk.input("i1", How::Next);
    talk.hear(&json!({ "id": 3, "result": { "turn": { "id": "own" } } }));
    talk.turn("started", "self", "inProgress");
    talk.turn("completed", "self", "completed");
    assert!(!talk.machine.is_idle(), "its turn is still to come");
    talk.turn("started", "own", "inProgress");
    talk.turn("completed", "own", "completed");
    let (items, _) = talk.take();
    assert_eq!(stages(&items, "i1"), WHOLE);
    assert!(items.contains(&Item::TurnStarted { turn: 1, trigger: Trigger::Itself }));
    assert!(items.contains(&Item::TurnStarted { turn: 2, trigger: Trigger::Input }));
}

#[test]
fn steering_that_is_refused_becomes_the_next_turn() {
    let mut talk = Talk::codex_in_turn();
    talk.input("i2", How::Steer);
    talk.input("i3", How::Next);
    assert_eq!(methods(&talk.take().1), ["turn/steer"]);
    talk.hear(&json!({ "id": 4, "error": { "message": "no active turn to steer" } }));
    talk.turn("completed", "t1", "completed");
    let (_, writes) = talk.take();
    assert_eq!(methods(&writes), ["turn/start"]);
    assert_eq!(writes[0]["params"]["clientUserMessageId"], "i2");
}

#[test]
fn steering_that_was_accepted_and_never_read_is_unproven() {
    let mut talk = Talk::codex_in_turn();
    talk.input("i2", How::Steer);
    talk.hear(&json!({ "id": 4, "result": { "turnId": "t1" } }));
    talk.turn("completed", "t1", "interrupted");
    assert_eq!(stages(&talk.items, "i2"), [InputStage::Shown, InputStage::Unproven]);
}

#[test]
fn a_text_that_is_cut_off_is_in_the_transcript() {
    let mut talk = Talk::codex_in_turn();
    for delta in ["half of ", "a sentence"] {
        let params = json!({ "threadId": "T", "turnId": "t1", "itemId": "m", "delta": delta });
        talk.hear(&json!({ "method": "item/agentMessage/delta", "params": params }));
    }
    talk.turn("completed", "t1", "interrupted");
    let whole = Item::Message { id: "m".to_owned(), text: "half of a sentence".to_owned(), parent: None };
    assert!(talk.items.contains(&whole));
}

#[test]
fn an_interrupt_waits_for_the_id_of_its_turn_and_is_refused_without_one() {
    let mut talk = Talk::codex();
    assert_eq!(talk.order(&Order::Interrupt), Err(Refused::NotRunning));
    talk.input("i1", How::Next);
    assert_eq!(talk.order(&Order::Interrupt), Ok(()));
    assert_eq!(methods(&talk.take().1), ["turn/start"]);
    talk.turn("started", "t1", "inProgress");
    let (_, writes) = talk.take();
    assert_eq!(methods(&writes), ["turn/interrupt"]);
    assert_eq!(writes[0]["params"]["turnId"], "t1");
}

#[test]
fn a_resumed_thread_may_be_in_the_middle_of_a_turn() {
    let mut talk = Talk::new(Machine::Codex(Codex::default()), Session::Resume { id: "T".to_owned() });
    talk.input("i1", How::Next);
    talk.hear(&json!({ "id": 1, "result": {} }));
    let turns = json!([{ "id": "t0", "status": "inProgress" }]);
    talk.hear(&json!({ "id": 2, "result": { "thread": { "id": "T", "turns": turns } } }));
    let (items, writes) = talk.take();
    assert!(items.iter().any(|item| matches!(item, Item::Session { session } if session.how == Opened::Resumed)));
    assert!(items.contains(&Item::TurnStarted { turn: 1, trigger: Trigger::Itself }));
    assert_eq!(methods(&writes), ["initialize", "initialized", "thread/resume"]);
    talk.turn("completed", "t0", "completed");
    assert_eq!(methods(&talk.take().1), ["turn/start"]);
}

#[test]
fn a_question_is_answered_exactly_once_and_survives_a_wrong_answer() {
    for id in [json!(0), json!("zero")] {
        let mut talk = Talk::codex_in_turn();
        let params = json!({ "threadId": "T", "turnId": "t1", "itemId": "c", "command": "rm x" });
        talk.hear(&json!({ "id": id, "method": "item/commandExecution/requestApproval", "params": params }));
        let Some(Item::Asked { ask }) = talk.take().0.pop() else { panic!("it is asked") };
        assert_eq!((ask.tool.as_deref(), ask.subject.as_deref()), (Some("commandExecution"), Some("rm x")));
        let kinds: Vec<_> = ask.options.iter().map(|option| option.kind).collect();
        use RequestOptionKind::{AllowAlways, AllowOnce, RejectAlways, RejectOnce};
        assert_eq!(kinds, [AllowOnce, AllowAlways, RejectOnce, RejectAlways]);
        assert!(matches!(talk.option(&ask.id, "perhaps"), Err(Refused::BadAnswer(_))));
        assert_eq!(talk.option(&ask.id, "decline"), Ok(()));
        assert_eq!(talk.take().1, [json!({ "id": id, "result": { "decision": "decline" } })]);
        assert_eq!(talk.option(&ask.id, "decline"), Err(Refused::NotAsked(ask.id.clone())));
    }
}

#[test]
fn a_question_is_withdrawn_when_the_agent_resolves_it() {
    let mut talk = Talk::codex_in_turn();
    let params = json!({ "threadId": "T", "turnId": "t1", "itemId": "c" });
    talk.hear(&json!({ "id": 5, "method": "item/fileChange/requestApproval", "params": params }));
    talk.hear(&json!({ "method": "serverRequest/resolved", "params": { "threadId": "T", "requestId": 5 } }));
    assert!(matches!(talk.items.as_slice(), [Item::Asked { .. }, Item::AskClosed { .. }]));
    assert!(matches!(talk.option("1:5", "accept"), Err(Refused::NotAsked(_))));
}

#[test]
fn questions_and_permissions_are_answered_in_their_own_shapes() {
    let mut talk = Talk::codex_in_turn();
    let question = |id: &str| json!({ "id": id, "question": "Which?", "options": [{ "label": "Red" }] });
    let params = json!({ "turnId": "t1", "questions": [question("q")] });
    talk.hear(&json!({ "id": 1, "method": "item/tool/requestUserInput", "params": params }));
    talk.option("1:1", "Red").expect("it is an option");
    let params = json!({ "turnId": "t1", "questions": [question("q"), question("r")] });
    talk.hear(&json!({ "id": 2, "method": "item/tool/requestUserInput", "params": params }));
    let text = |text: &str| Order::Answer { ask: "2:2".to_owned(), answer: Answer::Text { text: text.to_owned() } };
    assert!(matches!(talk.order(&text("only one")), Err(Refused::BadAnswer(_))));
    talk.order(&text("one\ntwo")).expect("a line for each");
    let params = json!({ "turnId": "t1", "permissions": { "network": { "enabled": true }, "fileSystem": null } });
    talk.hear(&json!({ "id": 3, "method": "item/permissions/requestApproval", "params": params }));
    talk.option("3:3", "acceptForSession").expect("it is an option");
    let answers = |write: &Value| write["result"].clone();
    assert_eq!(
        talk.writes.iter().map(answers).collect::<Vec<_>>(),
        [
            json!({ "answers": { "q": { "answers": ["Red"] } } }),
            json!({ "answers": { "q": { "answers": ["one"] }, "r": { "answers": ["two"] } } }),
            json!({ "permissions": { "network": { "enabled": true } }, "scope": "session" }),
        ]
    );
}

#[test]
fn every_other_request_is_answered_and_every_other_frame_is_told_once_and_counted() {
    let mut talk = Talk::codex();
    talk.hear(&json!({ "id": 0, "method": "item/tool/call", "params": {} }));
    for _ in 0..3 {
        talk.hear(&json!({ "method": "brand/new", "params": {} }));
    }
    talk.hear_line("not a frame");
    let (items, writes) = talk.take();
    assert_eq!((&writes[0]["id"], &writes[0]["error"]["code"]), (&json!(0), &json!(-32601)));
    let kinds = ["item/tool/call", "brand/new"].map(|kind| Item::Unknown { kind: kind.to_owned() });
    assert_eq!(items, kinds);
    assert_eq!(talk.machine.unknown(), 5);
}

#[test]
fn what_a_sub_agent_says_is_its_own_and_does_not_end_our_turn() {
    let mut talk = Talk::codex_in_turn();
    let item = json!({ "type": "agentMessage", "id": "m", "text": "hi" });
    let params = json!({ "threadId": "child", "turnId": "c1", "item": item });
    talk.hear(&json!({ "method": "item/completed", "params": params }));
    let params = json!({ "threadId": "child", "turn": { "id": "c1", "status": "completed" } });
    talk.hear(&json!({ "method": "turn/completed", "params": params }));
    let parent = Some("child".to_owned());
    assert_eq!(talk.items, [Item::Message { id: "m".to_owned(), text: "hi".to_owned(), parent }]);
}

#[test]
fn a_process_that_cannot_open_a_conversation_refuses_what_waits() {
    let mut talk = Talk::new(Machine::Codex(Codex::default()), Session::New { id: "x".to_owned() });
    talk.input("i1", How::Next);
    talk.hear(&json!({ "id": 1, "result": {} }));
    talk.hear(&json!({ "id": 2, "error": { "message": "bad config" } }));
    assert_eq!(stages(&talk.items, "i1"), [InputStage::Refused]);
    let order = Order::Input { parts: Vec::new(), input: "i2".to_owned(), text: String::new(), how: How::Next };
    assert_eq!(talk.order(&order), Err(Refused::NotReady));
}

#[test]
fn a_mode_is_words_the_server_knows() {
    let mut talk = Talk::codex();
    let set = |mode: &str| Order::Set { model: None, mode: Some(mode.to_owned()) };
    assert!(matches!(talk.order(&set("yolo")), Err(Refused::Unsupported(_))));
    talk.order(&set("never/read-only")).expect("two words");
    talk.input("i1", How::Next);
    let params = &talk.writes[0]["params"];
    assert_eq!(params["approvalPolicy"], "never");
    assert_eq!(params["sandboxPolicy"], json!({ "type": "readOnly" }));
}

fn done(id: &str) -> Vec<Value> {
    vec![json!({ "type": "thread.started", "thread_id": id }), json!({ "type": "turn.completed", "usage": {} })]
}

const RESUME: Option<&str> = Some("cli -m {model} resume {session}");

#[test]
fn inputs_during_a_turn_are_started_one_by_one_and_go_on_with_its_conversation() {
    let mut talk = Talk::once(Session::New { id: "chosen".to_owned() }, RESUME);
    talk.input("i1", How::Next);
    talk.input("i2", How::Steer);
    assert_eq!(talk.take().1.len(), 1);
    talk.relay("i1", 0, "", &done("S"));
    let (items, writes) = talk.take();
    assert_eq!(stages(&items, "i1"), WHOLE);
    assert_eq!(writes, [json!({ "turn": { "id": "i2", "argv": ["cli", "resume", "S"], "stdin": "text of i2" } })]);
    talk.relay("i2", 0, "", &done("S"));
    assert!(!talk.items.iter().any(|item| matches!(item, Item::Session { .. })), "it is the same conversation");
    assert!(talk.machine.is_idle());
}

#[test]
fn arguments_without_a_value_are_left_out_and_a_prompt_is_never_read_as_a_template() {
    let mut talk = Talk::once(Session::New { id: "chosen".to_owned() }, RESUME);
    let text = "say {session} and {model}".to_owned();
    talk.order(&Order::Set { model: Some("m".to_owned()), mode: None }).expect("a model");
    talk.order(&Order::Input { parts: Vec::new(), input: "i1".to_owned(), text: text.clone(), how: How::Next })
        .expect("an input");
    assert_eq!(talk.writes[0]["turn"]["argv"], json!(["cli", "-m", "m", "--id", "chosen", "-p", text]));
    assert_eq!(talk.writes[0]["turn"]["stdin"], "");
    assert!(matches!(
        talk.order(&Order::Set { model: None, mode: Some("x".to_owned()) }),
        Err(Refused::Unsupported(_))
    ));
}

#[test]
fn a_cli_that_cannot_resume_says_with_every_turn_that_its_conversation_is_fresh() {
    let mut talk = Talk::once(Session::Resume { id: "old".to_owned() }, None);
    for (input, id) in [("i1", "A"), ("i2", "B")] {
        talk.input(input, How::Next);
        talk.relay(input, 0, "", &done(id));
    }
    let attempted = talk.items.iter().filter_map(|item| match item {
        Item::Session { session } => match &session.how {
            Opened::Fresh { attempted, .. } => Some((attempted.as_str(), session.id.as_str())),
            _ => None,
        },
        _ => None,
    });
    assert_eq!(attempted.collect::<Vec<_>>(), [("old", "A"), ("A", "B")]);
}

#[test]
fn a_dead_conversation_is_tried_once_and_never_adopted_again() {
    let mut talk = Talk::once(Session::Resume { id: "dead".to_owned() }, RESUME);
    talk.input("i1", How::Next);
    talk.relay("i1", 1, "no rollout found for thread id dead", &[]);
    talk.relay("i1", 0, "", &done("dead"));
    let (items, writes) = talk.take();
    assert_eq!(writes.len(), 2);
    assert_eq!(stages(&items, "i1"), WHOLE);
    talk.input("i2", How::Next);
    assert!(!talk.writes[0].to_string().contains("dead"));
}

#[test]
fn a_failure_that_is_not_a_dead_conversation_ends_the_turn_and_keeps_the_conversation() {
    let mut talk = Talk::once(Session::Resume { id: "S".to_owned() }, RESUME);
    talk.input("i1", How::Next);
    talk.relay("i1", 1, "error: unexpected status 401 Unauthorized", &[]);
    let (items, writes) = talk.take();
    assert_eq!(writes.len(), 1);
    let end = TurnEnd::Error { class: FailureClass::Auth };
    assert!(items.contains(&Item::TurnEnded { turn: 1, end }));
    talk.input("i2", How::Next);
    assert_eq!(talk.writes[0]["turn"]["argv"], json!(["cli", "resume", "S"]));
}

#[test]
fn an_interrupted_resume_is_not_tried_again() {
    let mut talk = Talk::once(Session::Resume { id: "S".to_owned() }, RESUME);
    assert_eq!(talk.order(&Order::Interrupt), Err(Refused::NotRunning));
    talk.input("i1", How::Next);
    talk.order(&Order::Interrupt).expect("a process is on its way");
    talk.relay("i1", 1, "no rollout found for thread id S", &[]);
    let (items, writes) = talk.take();
    assert_eq!(writes[1], json!({ "interrupt": "i1" }));
    assert_eq!(writes.len(), 2);
    assert!(items.contains(&Item::TurnEnded { turn: 1, end: TurnEnd::Interrupted }));
}

#[test]
fn an_input_whose_process_cannot_be_started_is_refused_and_the_next_is_tried() {
    let mut talk = Talk::once(Session::New { id: "x".to_owned() }, RESUME);
    talk.input("i1", How::Next);
    talk.input("i2", How::Next);
    let end = json!({ "turn": "i1", "code": null, "signal": null, "stderr": "cli: not found" });
    talk.hear(&json!({ "agentmux": end }));
    let (items, writes) = talk.take();
    assert_eq!(stages(&items, "i1"), [InputStage::Refused]);
    assert_eq!(writes.last().expect("a write")["turn"]["id"], "i2");
    assert_eq!(ends(&items), 0);
}

fn claude_init() -> Value {
    json!({ "type": "system", "subtype": "init", "session_id": "S", "model": "m", "permissionMode": "default" })
}

/// Which request was answered, and how.
fn claude_answers(writes: &[Value]) -> Vec<(String, Value)> {
    let answer = |write: &Value| {
        let response = &write["response"];
        (response["request_id"].as_str().unwrap_or_default().to_owned(), response["response"].clone())
    };
    writes.iter().map(answer).collect()
}

#[test]
fn several_things_claude_asks_are_answered_in_any_order_and_once() {
    let mut talk = Talk::claude_in_turn();
    for id in ["a", "b", "c"] {
        talk.claude_asks(id, "Bash", json!({ "command": format!("rm {id}") }));
    }
    assert!(matches!(talk.option("b", "perhaps"), Err(Refused::BadAnswer(_))));
    // Nothing was suggested, so there is nothing to remember.
    talk.option("c", "deny").expect("it is asked");
    talk.says("a", "Not this one.").expect("it is asked");
    talk.option("b", "allow").expect("it is asked");
    assert_eq!(talk.option("b", "allow"), Err(Refused::NotAsked("b".to_owned())));
    let (items, writes) = talk.take();
    let allowed = json!({ "behavior": "allow", "updatedInput": { "command": "rm b" } });
    let denied = |why: &str| json!({ "behavior": "deny", "message": why });
    assert_eq!(
        claude_answers(&writes),
        [
            ("c".to_owned(), denied("The user does not allow this.")),
            ("a".to_owned(), denied("Not this one.")),
            ("b".to_owned(), allowed)
        ]
    );
    assert_eq!(items.iter().filter(|item| matches!(item, Item::AskClosed { .. })).count(), 3);
}

#[test]
fn several_questions_of_claude_are_one_answer_when_each_has_its_own() {
    let mut talk = Talk::claude_in_turn();
    let question = |text: &str, several: bool| {
        let options = [json!({ "label": "Red" }), json!({ "label": "Blue" }), json!({ "label": "Green" })];
        json!({ "question": text, "multiSelect": several, "options": options })
    };
    let questions = json!([question("One?", false), question("Some?", true), question("Why?", false)]);
    talk.claude_asks("q", "AskUserQuestion", json!({ "questions": questions }));
    talk.says("q/2", "1").expect("a text is a text");
    talk.says("q/1", "3, 1").expect("several by their numbers");
    assert_eq!(talk.says("q/1", "2"), Err(Refused::NotAsked("q/1".to_owned())));
    assert!(matches!(talk.option("q/0", "4"), Err(Refused::BadAnswer(_))));
    assert!(talk.writes.is_empty());
    talk.option("q/0", "2").expect("an option");
    let answers = json!({ "One?": "Blue", "Some?": "Green, Red", "Why?": "1" });
    let updated = json!({ "questions": questions, "answers": answers });
    let (items, writes) = talk.take();
    assert_eq!(claude_answers(&writes), [("q".to_owned(), json!({ "behavior": "allow", "updatedInput": updated }))]);
    assert_eq!(items.iter().filter(|item| matches!(item, Item::AskClosed { .. })).count(), 3);
}

#[test]
fn what_claude_withdraws_or_leaves_behind_is_not_asked_any_more() {
    let mut talk = Talk::claude_in_turn();
    talk.claude_asks("a", "Bash", json!({ "command": "rm a" }));
    talk.claude_asks("b", "Bash", json!({ "command": "rm b" }));
    talk.hear(&json!({ "type": "control_cancel_request", "request_id": "a" }));
    assert_eq!(talk.option("a", "allow"), Err(Refused::NotAsked("a".to_owned())));
    talk.claude_result(false, json!({}));
    assert_eq!(talk.option("b", "allow"), Err(Refused::NotAsked("b".to_owned())));
    let closed = talk.items.iter().filter(|item| matches!(item, Item::AskClosed { .. }));
    assert_eq!(closed.count(), 2);
    assert!(talk.machine.is_idle());
}

#[test]
fn claude_is_told_when_we_cannot_do_what_it_asks() {
    let mut talk = Talk::claude_in_turn();
    let request = json!({ "subtype": "hook_callback" });
    talk.hear(&json!({ "type": "control_request", "request_id": "h", "request": request }));
    talk.claude_asks("q", "AskUserQuestion", json!({ "questions": [] }));
    let (items, writes) = talk.take();
    assert_eq!(items, []);
    assert_eq!(
        (&writes[0]["response"]["subtype"], &writes[0]["response"]["request_id"]),
        (&json!("error"), &json!("h"))
    );
    assert_eq!(writes[1]["response"]["response"]["behavior"], "deny");
}

#[test]
fn a_usage_limit_of_claude_is_said_and_a_warning_of_one_is_not() {
    let mut talk = Talk::claude_in_turn();
    let event =
        |status: &str| json!({ "type": "rate_limit_event", "rate_limit_info": { "status": status, "resetsAt": 60 } });
    talk.hear(&event("allowed_warning"));
    assert_eq!(talk.items, []);
    talk.hear(&event("rejected"));
    let Some(Item::Error { error }) = talk.items.pop() else { panic!("it is said") };
    assert_eq!((error.class, error.retryable), (FailureClass::UsageLimit, false));
    assert!(error.text.contains("1970-01-01T00:01:00"), "{}", error.text);
    talk.claude_result(true, json!({ "result": "You have hit your usage limit" }));
    let end = TurnEnd::Error { class: FailureClass::UsageLimit };
    assert!(talk.items.contains(&Item::TurnEnded { turn: 1, end }));
}

#[test]
fn failures_of_claude_are_classed_by_status_then_by_word_then_by_text() {
    for (more, class) in [
        (json!({ "api_error_status": 529, "result": "Prompt is too long" }), FailureClass::Overloaded),
        (json!({ "api_error_status": 400, "result": "Prompt is too long" }), FailureClass::ContextExceeded),
        (json!({ "subtype": "error_max_turns" }), FailureClass::MaxTurns),
        (json!({ "result": "Credit balance is too low" }), FailureClass::UsageLimit),
        (json!({ "result": "Invalid API key · Please run /login" }), FailureClass::Auth),
        (json!({ "result": "Unable to connect" }), FailureClass::Network),
        (json!({ "result": "strange" }), FailureClass::Unknown),
    ] {
        let mut talk = Talk::claude_in_turn();
        talk.claude_result(true, more.clone());
        assert!(talk.items.contains(&Item::TurnEnded { turn: 1, end: TurnEnd::Error { class } }), "{more}");
        assert_eq!(stages(&talk.items, "i1"), [InputStage::Failed]);
    }
}

#[test]
fn a_result_of_claude_without_a_pass_is_the_end_of_the_input_it_is_about() {
    let mut talk = Talk::claude_in_turn();
    talk.claude_result(false, json!({}));
    talk.take();
    talk.input("i2", How::Next);
    talk.claude_result(true, json!({ "result": "no" }));
    let (items, _) = talk.take();
    assert_eq!(stages(&items, "i2"), [InputStage::Begun, InputStage::Failed]);
    assert_eq!(ends(&items), 1);
    // One that is about nothing is a turn of its own, which is over at once.
    talk.claude_result(false, json!({}));
    assert!(talk.items.contains(&Item::TurnStarted { turn: 3, trigger: Trigger::Itself }));
    assert!(talk.machine.is_idle());
}

#[test]
fn a_foreground_task_of_claude_is_not_the_reason_of_a_later_turn() {
    let mut talk = Talk::claude_in_turn();
    let task = |subtype: &str, status: Value| json!({ "type": "system", "subtype": subtype, "task_id": "t", "tool_use_id": "u", "description": "d", "status": status });
    talk.hear(&task("task_started", Value::Null));
    talk.hear(&task("task_notification", json!("completed")));
    talk.claude_result(false, json!({}));
    talk.take();
    talk.hear(&claude_init());
    assert_eq!(talk.take().0, [Item::TurnStarted { turn: 2, trigger: Trigger::Itself }]);
    talk.hear(&task("task_started", Value::Null));
    talk.claude_result(false, json!({}));
    talk.hear(&task("task_notification", json!("failed")));
    talk.take();
    talk.hear(&claude_init());
    assert_eq!(talk.take().0, [Item::TurnStarted { turn: 3, trigger: Trigger::Task }]);
}

#[test]
fn an_input_that_waits_while_claude_reports_a_task_is_not_taken_for_it() {
    let mut talk = Talk::claude_in_turn();
    let task = |subtype: &str, status: Value| json!({ "type": "system", "subtype": subtype, "task_id": "t", "status": status });
    talk.hear(&task("task_started", Value::Null));
    talk.claude_result(false, json!({}));
    talk.hear(&task("task_notification", json!("completed")));
    talk.input("i2", How::Next);
    talk.take();
    talk.hear(&claude_init());
    talk.claude_result(false, json!({}));
    assert_eq!(ends(&talk.items), 0);
    talk.hear(&claude_init());
    talk.claude_result(false, json!({}));
    let (items, _) = talk.take();
    assert_eq!(stages(&items, "i2"), [InputStage::Begun, InputStage::Ended]);
    assert_eq!(ends(&items), 1);
}

#[test]
fn claude_resumes_only_with_proof_and_says_when_it_is_another_conversation() {
    let answered =
        json!({ "type": "control_response", "response": { "subtype": "success", "request_id": "agentmux-1" } });
    let says = |model: &str| json!({ "type": "assistant", "message": { "id": "m", "model": model, "content": [] } });
    let fresh = Opened::Fresh { attempted: "R".to_owned(), why: "the CLI opened another conversation".to_owned() };
    // What the CLI says of itself proves nothing; an answer to us does, and so does one of the model.
    let unproven = vec![claude_init(), says("<synthetic>")];
    for (asked, first, then, opened) in [
        ("S", unproven.clone(), vec![], vec![]),
        ("S", unproven.clone(), vec![says("m")], vec![Opened::Resumed]),
        ("R", unproven, vec![says("m")], vec![fresh.clone()]),
        ("S", vec![answered.clone(), claude_init()], vec![says("m")], vec![Opened::Resumed]),
        ("R", vec![answered, claude_init()], vec![says("m")], vec![Opened::Resumed, fresh]),
    ] {
        let mut talk = Talk::new(Machine::Claude(Claude::default()), Session::Resume { id: asked.to_owned() });
        talk.input("i1", How::Next);
        first.iter().chain(&then).for_each(|frame| talk.hear(frame));
        let how = |item: &Item| match item {
            Item::Session { session } => Some(session.how.clone()),
            _ => None,
        };
        assert_eq!(talk.items.iter().filter_map(how).collect::<Vec<_>>(), opened);
    }
}

#[test]
fn a_start_of_claude_that_fails_for_another_reason_does_not_lose_the_conversation() {
    let mut talk = Talk::new(Machine::Claude(Claude::default()), Session::Resume { id: "S".to_owned() });
    talk.input("i1", How::Next);
    talk.claude_result(true, json!({ "result": "Invalid API key · Please run /login" }));
    assert_eq!(talk.machine.dead_session(), None);
    let mut talk = Talk::new(Machine::Claude(Claude::default()), Session::Resume { id: "S".to_owned() });
    talk.input("i1", How::Next);
    talk.take();
    talk.claude_result(true, json!({ "errors": ["No conversation found with session ID: S"] }));
    assert_eq!((talk.items.as_slice(), talk.machine.dead_session()), (&[][..], Some("S")));
}

#[test]
fn frames_of_claude_that_are_not_known_are_told_once_and_counted() {
    let mut talk = Talk::claude_in_turn();
    for _ in 0..3 {
        talk.hear(&json!({ "type": "brand_new" }));
        talk.hear(&json!({ "type": "system", "subtype": "brand_new" }));
    }
    talk.hear_line("not a frame");
    talk.hear(&json!({ "type": "keep_alive" }));
    let kinds = ["brand_new", "system/brand_new"].map(|kind| Item::Unknown { kind: kind.to_owned() });
    assert_eq!(talk.items, kinds);
    assert_eq!(talk.machine.unknown(), 7);
}

#[test]
fn a_list_of_things_to_do_of_claude_is_its_plan() {
    let mut talk = Talk::claude_in_turn();
    let todos = json!([{ "content": "one", "status": "completed" }, { "content": "two", "status": "in_progress" }]);
    let block = json!({ "type": "tool_use", "id": "t", "name": "TodoWrite", "input": { "todos": todos } });
    talk.hear(&json!({ "type": "assistant", "message": { "id": "m", "content": [block] } }));
    let plan = talk.items.iter().find_map(|item| match item {
        Item::Plan { entries } => {
            Some(entries.iter().map(|entry| (entry.text.as_str(), entry.status)).collect::<Vec<_>>())
        }
        _ => None,
    });
    assert_eq!(plan, Some(vec![("one", PlanStatus::Completed), ("two", PlanStatus::InProgress)]));
}

#[test]
fn a_mode_that_changes_between_turns_of_claude_begins_none() {
    let mut talk = Talk::claude_in_turn();
    talk.claude_result(false, json!({}));
    talk.take();
    talk.hear(&json!({ "type": "system", "subtype": "status", "status": null, "permissionMode": "plan" }));
    assert_eq!(talk.items, [Item::Mode { model: None, mode: Some("plan".to_owned()) }]);
    assert!(talk.machine.is_idle());
}

#[test]
fn an_input_that_is_taken_is_written_at_once_and_no_other_is() {
    let agrees = |talk: &Talk, how: How| {
        let mut machine = talk.machine.clone();
        let is_taken = machine.takes_input(how);
        let mut out = Out::default();
        let order = Order::Input { parts: Vec::new(), input: "probe".to_owned(), text: String::new(), how };
        let is_written = machine.order(&order, Time(0), &mut out).is_err()
            || out.writes.iter().any(|write| write.input.as_deref() == Some("probe"));
        assert_eq!(is_taken, is_written, "{how:?}: {:?}", talk.machine);
        is_taken
    };
    let takes = |talk: &Talk| (agrees(talk, How::Next), agrees(talk, How::Steer));
    let new = || Session::New { id: "S".to_owned() };
    let acp_reply = |id: u64, result: Value| json!({ "jsonrpc": "2.0", "id": id, "result": result });

    let opening = Talk::new(Machine::Codex(Codex::default()), new());
    assert_eq!(takes(&opening), (false, false));
    let mut codex = Talk::codex();
    assert_eq!(takes(&codex), (true, true));
    codex.input("i1", How::Next);
    assert_eq!(takes(&codex), (false, false), "its turn has no name yet");
    let mut codex = Talk::codex_in_turn();
    assert_eq!(takes(&codex), (false, true));
    codex.turn("completed", "t1", "completed");
    assert_eq!(takes(&codex), (true, true));

    for queues in [false, true] {
        let mut acp = Talk::new(Machine::Acp(Box::default()), new());
        assert_eq!(takes(&acp), (false, false));
        acp.hear(&acp_reply(1, json!({ "agentCapabilities": { "promptQueueing": queues } })));
        acp.hear(&acp_reply(2, json!({ "sessionId": "S" })));
        assert_eq!(takes(&acp), (true, true));
        acp.input("i1", How::Next);
        assert_eq!(takes(&acp), (false, queues));
        acp.order(&Order::Interrupt).unwrap();
        assert_eq!(takes(&acp), (false, false), "it is being interrupted");
        acp.hear(&acp_reply(3, json!({ "stopReason": "cancelled" })));
        assert_eq!(takes(&acp), (true, true));
    }

    let mut once = Talk::once(new(), None);
    assert_eq!(takes(&once), (true, true));
    once.input("i1", How::Next);
    assert_eq!(takes(&once), (false, false));

    let mut claude = Talk::claude_in_turn();
    claude.input("i2", How::Next);
    assert_eq!(takes(&claude), (true, true));
}

#[test]
fn what_claude_takes_as_a_slash_is_known_with_its_words_and_with_what_came_since() {
    let mut talk = Talk::new(Machine::Claude(Claude::default()), Session::New { id: "S".to_owned() });
    assert!(talk.machine.commands().is_empty());
    let told = json!({ "commands": [
        { "name": "review", "description": "Look through it\nand more", "argumentHint": "[path]" },
        { "name": "bad name" }, { "name": "" }, 7,
    ] });
    let response = json!({ "subtype": "success", "request_id": "agentmux-1", "response": told });
    talk.hear(&json!({ "type": "control_response", "response": response }));
    let mut init = claude_init();
    init["slash_commands"] = json!(["review", "plugin:deploy"]);
    talk.hear(&init);
    let known: Vec<_> = talk.machine.commands().iter().map(|one| (&*one.name, &*one.about, &*one.takes)).collect();
    assert_eq!(known, [("review", "Look through it", "[path]"), ("plugin:deploy", "", "")]);
}
