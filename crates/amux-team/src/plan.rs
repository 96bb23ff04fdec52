//! What makes a team as a file wants it: a pure function of the file and of the team as it is. Only what is run
//! differently is restarted; nothing that the file does not name is touched unless that is asked for.

use std::collections::BTreeSet;

use amux_proto::Name;
use amux_proto::entity::{Agent, Definition, Desired, MailRules};
use serde_json::{Value, json};

use crate::parse::{Mail, TeamFile, Wanted, Work};

#[derive(Debug, PartialEq, Eq)]
pub struct Plan {
    pub team: Name,
    pub make_team: bool,
    /// One an agent: those of the file in its order, then the others by name.
    pub steps: Vec<Step>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    pub agent: Name,
    pub act: Act,
    pub describe: Option<Describe>,
    /// Only the rules that are to change.
    pub mail: Option<Mail>,
    /// What differs, in words.
    pub why: Vec<String>,
    /// Whose start this one's start waits for.
    pub after: Vec<Name>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Act {
    Create {
        work: Work,
        start: bool,
    },
    /// It does not run; where there is other work it is given that first.
    Start {
        work: Option<Work>,
    },
    /// It runs, and is to run something else.
    Restart {
        work: Work,
    },
    /// It does not run and is not to.
    Define {
        work: Work,
    },
    Keep,
    Remove {
        live: bool,
    },
    /// Not of the file, and not touched.
    Spare,
    /// It goes away; nothing can be made of it, and its name is not free yet.
    Going,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Describe {
    pub role: Option<String>,
    pub groups: BTreeSet<Name>,
}

/// Agents that a file does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extra {
    Leave,
    Remove,
}

impl Step {
    pub fn does_something(&self) -> bool {
        !matches!(self.act, Act::Keep | Act::Spare) || self.describe.is_some() || self.mail.is_some()
    }

    /// Whether a run that goes on now would end.
    pub fn ends_a_run(&self) -> bool {
        matches!(self.act, Act::Restart { .. } | Act::Remove { live: true })
    }

    pub fn starts(&self) -> bool {
        matches!(self.act, Act::Create { start: true, .. } | Act::Start { .. } | Act::Restart { .. })
    }

    pub fn what(&self) -> &'static str {
        match self.act {
            Act::Create { start: true, .. } => "create and start",
            Act::Create { start: false, .. } => "create",
            Act::Start { work: Some(_) } => "redefine and start",
            Act::Start { work: None } => "start",
            Act::Restart { .. } => "redefine and restart",
            Act::Define { .. } => "redefine",
            Act::Keep if self.does_something() => "change",
            Act::Keep => "keep",
            Act::Remove { live: true } => "stop and remove",
            Act::Remove { live: false } => "remove",
            Act::Spare => "leave",
            Act::Going => "wait",
        }
    }

    pub fn told(&self) -> Value {
        json!({ "agent": self.agent, "what": self.what(), "why": self.why, "after": self.after })
    }
}

/// `agents` is the team as it is; `None` when there is no such team.
pub fn plan(file: &TeamFile, agents: Option<&[Agent]>, extra: Extra) -> Plan {
    let there = agents.unwrap_or_default();
    let mut steps: Vec<Step> = file
        .agents
        .iter()
        .map(|wanted| match there.iter().find(|agent| agent.name == wanted.name) {
            Some(agent) => change(wanted, agent),
            None => create(wanted),
        })
        .collect();
    let mut others: Vec<&Agent> = there
        .iter()
        .filter(|agent| !agent.removing && file.agents.iter().all(|wanted| wanted.name != agent.name))
        .collect();
    others.sort_by(|a, b| a.name.cmp(&b.name));
    steps.extend(others.into_iter().map(|agent| spare(agent, extra)));
    Plan { team: file.team.clone(), make_team: agents.is_none(), steps }
}

fn create(wanted: &Wanted) -> Step {
    let plain = wanted.role.is_none() && wanted.groups.is_empty();
    Step {
        agent: wanted.name.clone(),
        act: Act::Create { work: wanted.work.clone(), start: wanted.start },
        describe: (!plain).then(|| Describe { role: wanted.role.clone(), groups: wanted.groups.clone() }),
        mail: changed_mail(wanted.mail, MailRules::default()).map(|(mail, _)| mail),
        why: vec!["it is new".into()],
        after: wanted.start_after.clone(),
    }
}

fn change(wanted: &Wanted, agent: &Agent) -> Step {
    let after = wanted.start_after.clone();
    if agent.removing {
        let why = vec!["it is being removed".into()];
        return Step { agent: agent.name.clone(), act: Act::Going, describe: None, mail: None, why, after };
    }
    let mut why = changed_work(&wanted.work, &agent.definition);
    let work = (!why.is_empty()).then(|| wanted.work.clone());
    let runs = matches!(agent.desired, Desired::Running { .. });
    let act = match work {
        Some(work) if runs => Act::Restart { work },
        None if runs => Act::Keep,
        work if wanted.start => {
            why.push("it does not run".into());
            Act::Start { work }
        }
        Some(work) => Act::Define { work },
        None => Act::Keep,
    };
    let is_described = agent.role == wanted.role && agent.groups == wanted.groups;
    if agent.role != wanted.role {
        why.push("role".into());
    }
    if agent.groups != wanted.groups {
        why.push("groups".into());
    }
    let mail = changed_mail(wanted.mail, agent.mail);
    why.extend(mail.iter().flat_map(|(_, keys)| keys).map(|key| format!("mail.{key}")));
    Step {
        agent: agent.name.clone(),
        act,
        describe: (!is_described).then(|| Describe { role: wanted.role.clone(), groups: wanted.groups.clone() }),
        mail: mail.map(|(mail, _)| mail),
        why,
        after,
    }
}

fn spare(agent: &Agent, extra: Extra) -> Step {
    let live = agent.run.as_ref().is_some_and(amux_proto::entity::Run::is_live);
    let act = match extra {
        Extra::Leave => Act::Spare,
        Extra::Remove => Act::Remove { live },
    };
    let why = vec!["the file does not name it".into()];
    Step { agent: agent.name.clone(), act, describe: None, mail: None, why, after: Vec::new() }
}

/// The keys that differ. Of an environment only the names: what it holds may not be for every eye.
fn changed_work(wanted: &Work, is: &Definition) -> Vec<String> {
    let mut why = Vec::new();
    let mut word = |key: &str, is: &str, wanted: &str| {
        if is != wanted {
            why.push(format!("{key}: {is} -> {wanted}"));
        }
    };
    let none = |word: &Option<String>| word.clone().unwrap_or_else(|| "none".into());
    word("kind", &is.kind.0, &wanted.kind.0);
    word("cwd", &is.cwd, &wanted.cwd);
    word("model", &none(&is.model), &none(&wanted.model));
    word("mode", &none(&is.mode), &none(&wanted.mode));
    word("worktree", &is.worktree.to_string(), &wanted.worktree.to_string());
    if is.argv != wanted.argv {
        why.push("args".into());
    }
    let names: BTreeSet<&String> = is.env.keys().chain(wanted.env.keys()).collect();
    let changed = names.into_iter().filter(|name| is.env.get(*name) != wanted.env.get(*name));
    why.extend(changed.map(|name| format!("env.{name}")));
    why
}

/// What a file says otherwise than it is, and the keys of that.
fn changed_mail(wanted: Mail, is: MailRules) -> Option<(Mail, Vec<&'static str>)> {
    let mail = Mail {
        paused: wanted.paused.filter(|paused| *paused != is.paused),
        while_working: wanted.while_working.filter(|when| *when != is.while_working),
        boundary_ms: wanted.boundary_ms.filter(|ms| *ms != is.boundary_ms),
        wakes_per_hour: wanted.wakes_per_hour.filter(|wakes| *wakes != is.wakes_per_hour),
    };
    let keys = [
        ("paused", mail.paused.is_some()),
        ("while_working", mail.while_working.is_some()),
        ("boundary", mail.boundary_ms.is_some()),
        ("wakes_per_hour", mail.wakes_per_hour.is_some()),
    ];
    let keys: Vec<_> = keys.into_iter().filter(|(_, changed)| *changed).map(|(key, _)| key).collect();
    (!keys.is_empty()).then_some((mail, keys))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use amux_proto::entity::{Activity, Run, RunState, Size};
    use amux_proto::{AgentId, Rev, RunNo, TeamId, Time};

    use super::*;
    use crate::parse::{Place, parse};

    fn file(agents: &str) -> TeamFile {
        let kinds = amux_agents::kinds::with(None).unwrap();
        let place = Place { dir: Path::new("/w"), home: None, kinds: &kinds };
        parse(&format!("team = {{ name = \"shop\" }}\n{agents}"), &place).unwrap()
    }

    /// The team that a file makes, all of it running.
    fn made(file: &TeamFile) -> Vec<Agent> {
        file.agents.iter().map(|wanted| agent(wanted, true)).collect()
    }

    fn agent(wanted: &Wanted, runs: bool) -> Agent {
        let Work { kind, argv, cwd, env, model, mode, worktree } = wanted.work.clone();
        let size = Size { rows: 50, cols: 200 };
        let id = "00000000-0000-7000-8000-000000000001".parse().unwrap();
        let state = if runs { RunState::Starting } else { RunState::Failed { error: String::new() } };
        let rules = MailRules::default();
        Agent {
            id: AgentId(id),
            name: wanted.name.clone(),
            team: TeamId(id),
            created: Time(0),
            definition: Definition { kind, argv, cwd, env, size, model, mode, worktree },
            desired: if runs { Desired::Running { run: RunNo(1) } } else { Desired::Stopped },
            run: Some(Run { no: RunNo(1), state, since: Time(0), activity: Activity::default(), lost_session: false }),
            session: None,
            role: wanted.role.clone(),
            groups: wanted.groups.clone(),
            mail: MailRules {
                paused: wanted.mail.paused.unwrap_or(rules.paused),
                wakes_per_hour: wanted.mail.wakes_per_hour.unwrap_or(rules.wakes_per_hour),
                ..rules
            },
            draft: None,
            removing: false,
            rev: Rev(1),
        }
    }

    const ONE: &str = "[[agent]]\nname = \"a\"\nkind = \"shell\"\n";

    fn only(text: &str, agents: &[Agent]) -> Step {
        let mut plan = plan(&file(text), Some(agents), Extra::Leave);
        assert_eq!(plan.steps.len(), 1);
        plan.steps.remove(0)
    }

    #[test]
    fn what_is_as_the_file_says_is_left_alone() {
        let text = format!("{ONE}role = \"r\"\ngroups = [\"g\"]\nmail = {{ paused = true }}\n");
        let file = file(&text);
        let plan = plan(&file, Some(&made(&file)), Extra::Leave);
        assert!(!plan.make_team && plan.steps.iter().all(|step| !step.does_something()), "{plan:?}");
    }

    #[test]
    fn where_there_is_no_team_everything_is_made() {
        let file = file(&format!("{ONE}start = false\nmail = {{ paused = true, wakes_per_hour = 60 }}\n"));
        let plan = plan(&file, None, Extra::Leave);
        let step = &plan.steps[0];
        assert!(plan.make_team && matches!(step.act, Act::Create { start: false, .. }), "{plan:?}");
        assert_eq!(step.mail, Some(Mail { paused: Some(true), ..Mail::default() }), "only what is not so already");
        assert_eq!(step.describe, None);
    }

    #[test]
    fn what_each_change_comes_to() {
        let then = made(&file(&format!("{ONE}env = {{ A = \"1\" }}\n")));
        let cases: &[(&str, &str, &[&str])] = &[
            ("env = { A = \"1\" }\n", "keep", &[]),
            ("env = { A = \"2\", B = \"1\" }\n", "redefine and restart", &["env.A", "env.B"]),
            ("", "redefine and restart", &["env.A"]),
            ("env = { A = \"1\" }\nargs = [\"-l\"]\n", "redefine and restart", &["args"]),
            ("env = { A = \"1\" }\ncwd = \"x\"\n", "redefine and restart", &["cwd: /w -> /w/x"]),
            ("env = { A = \"1\" }\nmodel = \"m\"\n", "redefine and restart", &["model: none -> m"]),
            ("env = { A = \"1\" }\nworktree = true\n", "redefine and restart", &["worktree: false -> true"]),
            ("env = { A = \"1\" }\nrole = \"r\"\ngroups = [\"g\"]\n", "change", &["role", "groups"]),
            ("env = { A = \"1\" }\nmail = { boundary = \"1s\" }\n", "change", &["mail.boundary"]),
            ("env = { A = \"1\" }\nmail = { boundary = \"10s\" }\n", "keep", &[]),
            ("env = { A = \"1\" }\nstart = false\n", "keep", &[]),
        ];
        for (more, what, why) in cases {
            let step = only(&format!("{ONE}{more}"), &then);
            let told: Vec<&str> = step.why.iter().map(String::as_str).collect();
            assert_eq!((step.what(), told.as_slice()), (*what, *why), "{more}");
            assert_eq!(step.ends_a_run(), *what == "redefine and restart", "{more}");
        }
    }

    #[test]
    fn what_does_not_run_is_started_unless_the_file_says_otherwise() {
        let at_rest = vec![agent(&file(ONE).agents[0], false)];
        assert_eq!(only(ONE, &at_rest).what(), "start");
        assert_eq!(only(&format!("{ONE}mode = \"m\"\n"), &at_rest).what(), "redefine and start");
        assert_eq!(only(&format!("{ONE}start = false\n"), &at_rest).what(), "keep");
        assert_eq!(only(&format!("{ONE}start = false\nmode = \"m\"\n"), &at_rest).what(), "redefine");
        let mut ending = at_rest;
        ending[0].run.as_mut().unwrap().state = RunState::Starting;
        assert_eq!(only(ONE, &ending).what(), "start", "it ends: whoever wants it wants another run");
        ending[0].removing = true;
        assert_eq!(only(ONE, &ending).act, Act::Going);
    }

    #[test]
    fn what_the_file_does_not_name_is_only_touched_when_that_is_asked_for() {
        let two = file(&format!("{ONE}[[agent]]\nname = \"b\"\nkind = \"shell\"\n"));
        let mut there = made(&two);
        let one = file(ONE);
        let what = |there: &[Agent], extra| plan(&one, Some(there), extra).steps.pop().unwrap().what();
        assert_eq!(what(&there, Extra::Leave), "leave");
        assert_eq!(what(&there, Extra::Remove), "stop and remove");
        there[1].run = None;
        assert_eq!(what(&there, Extra::Remove), "remove");
        there[1].removing = true;
        assert_eq!(plan(&one, Some(&there), Extra::Remove).steps.len(), 1);
    }
}
