//! The orders that a step of a plan comes to. An agent is what it is to be before it runs, so they come in two parts:
//! what makes it so, and then its start, which may wait for others.

use serde::Serialize;
use serde_json::{Value, json};

use crate::parse::{Mail, Work};
use crate::plan::{Act, Plan, Step};

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Order {
    pub cmd: &'static str,
    pub args: Value,
}

fn order(cmd: &'static str, args: Value) -> Order {
    Order { cmd, args }
}

/// Before everything else, where there is no such team.
pub fn team(plan: &Plan) -> Option<Order> {
    plan.make_team.then(|| order("team.create", json!({ "name": plan.team })))
}

/// Everything but the start.
pub fn prepare(plan: &Plan, step: &Step) -> Vec<Order> {
    let label = label(plan, step);
    let mut orders = Vec::new();
    match &step.act {
        Act::Create { work, .. } => {
            let mut args = defined(work);
            args["name"] = json!(step.agent);
            args["team"] = json!(plan.team);
            args["start"] = false.into();
            orders.push(order("agent.create", args));
        }
        Act::Start { work: Some(work) } | Act::Define { work } => {
            let mut args = defined(work);
            args["agent"] = label.as_str().into();
            orders.push(order("agent.define", args));
        }
        Act::Remove { .. } => orders.push(order("agent.remove", json!({ "agent": label, "stop": true }))),
        // One that runs is redefined at the moment it is restarted: what runs is then never older than what is said.
        Act::Restart { .. } | Act::Start { work: None } | Act::Keep | Act::Spare | Act::Going => {}
    }
    if let Some(describe) = &step.describe {
        let args = json!({ "agent": label, "role": describe.role, "groups": describe.groups });
        orders.push(order("agent.describe", args));
    }
    if let Some(Mail { paused, while_working, boundary_ms, wakes_per_hour }) = step.mail {
        let args = json!({
            "agent": label, "paused": paused, "while_working": while_working, "boundary_ms": boundary_ms,
            "wakes_per_hour": wakes_per_hour,
        });
        orders.push(order("agent.mail", args));
    }
    orders
}

/// When those it waits for run; its answer has the number of the run.
pub fn start(plan: &Plan, step: &Step) -> Option<Order> {
    let label = label(plan, step);
    Some(match &step.act {
        // In one order: between two, what runs would not be what is said, and nobody would see it.
        Act::Restart { work } => order("agent.restart", json!({ "agent": label, "define": defined(work) })),
        _ if step.starts() => order("agent.start", json!({ "agent": label })),
        _ => return None,
    })
}

fn defined(work: &Work) -> Value {
    let Work { kind, argv, cwd, env, model, mode, worktree } = work;
    json!({
        "kind": kind, "argv": argv, "cwd": cwd, "env": env, "model": model, "mode": mode, "worktree": worktree,
    })
}

fn label(plan: &Plan, step: &Step) -> String {
    format!("{}@{}", step.agent, plan.team)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::parse::{Place, parse};
    use crate::plan::{Extra, plan};

    #[test]
    fn a_new_agent_is_what_it_is_to_be_before_it_runs() {
        let kinds = amux_agents::kinds::with(None).unwrap();
        let place = Place { dir: Path::new("/w"), home: None, kinds: &kinds };
        let text = "[team]\nname = \"shop\"\n[[agent]]\nname = \"a\"\nkind = \"shell\"\nrole = \"r\"\n\
                    mail = { paused = true }\n[[agent]]\nname = \"b\"\nkind = \"shell\"\nstart = false\n";
        let plan = plan(&parse(text, &place).unwrap(), None, Extra::Leave);
        let names = |orders: &[Order]| orders.iter().map(|order| order.cmd).collect::<Vec<_>>();
        assert_eq!(team(&plan).unwrap().args, json!({ "name": "shop" }));
        let [a, b] = plan.steps.as_slice() else { panic!("{plan:?}") };
        assert_eq!(names(&prepare(&plan, a)), ["agent.create", "agent.describe", "agent.mail"]);
        assert_eq!(prepare(&plan, a)[0].args["start"], false);
        assert_eq!(start(&plan, a).unwrap().args, json!({ "agent": "a@shop" }));
        assert_eq!((names(&prepare(&plan, b)), start(&plan, b)), (vec!["agent.create"], None));
    }
}
