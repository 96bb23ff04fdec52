//! Who has the keyboard of a terminal in which an agent is meant to be. A terminal outlives the program it was meant
//! for: the shell that is there when it has ended runs whatever it is sent. So what has the keyboard is looked at
//! whenever something was printed, and once more before a message is put in and before it is entered.
//!
//! The first program seen there that is no shell is the agent. Where there was a shell from the beginning it is a shell
//! that was meant, until a CLI that is known to be an agent is begun in it.

use amux_proto::entity::Front;
use amux_sys::process;

/// Not oftener than this is it looked after output: programs that draw all the time would be looked at all the time.
pub(crate) const LOOK_AFTER: std::time::Duration = std::time::Duration::from_millis(400);

pub(crate) const NOT_ENTERED: &str = "its program had left the terminal before it was entered";

const SHELLS: [&str; 18] = [
    "ash", "bash", "busybox", "csh", "dash", "elvish", "fish", "ion", "ksh", "mksh", "nu", "oksh", "pwsh", "rbash",
    "sh", "tcsh", "xonsh", "zsh",
];

/// Of these the name of what they run says more.
const RUNNERS: [&str; 10] = ["bun", "deno", "env", "node", "nodejs", "perl", "python", "python3", "ruby", "uv"];

/// A program is named within its first words; what comes then is said to it.
const NAMED_WITHIN: usize = 3;

pub(crate) struct Watch {
    /// Programs that are agents wherever they run.
    clis: Vec<String>,
    /// The process group of the agent: a program may change its name.
    group: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Who {
    Shell(String),
    Cli(String),
    Other(String),
}

impl Watch {
    pub(crate) fn new(clis: Vec<String>, group: Option<u32>) -> Self {
        Self { clis, group }
    }

    /// Before anything is seen of it: a program of ours is the agent, and of a shell nothing is known yet.
    pub(crate) fn of(&self, words: &[String]) -> Front {
        match who(words, &self.clis) {
            Some(Who::Cli(name) | Who::Other(name)) => there(name),
            Some(Who::Shell(_)) | None => Front::default(),
        }
    }

    /// How it is now, by the process group that has the keyboard. What cannot be seen is as it was.
    pub(crate) fn look(&mut self, known: &Front, group: Option<u32>) -> Front {
        let seen = group.and_then(|group| Some((group, who(&process::arguments(group)?, &self.clis)?)));
        let Some((group, who)) = seen else { return known.clone() };
        let front = judged(known, who, self.group == Some(group));
        if front.program.is_some() && front.instead.is_none() {
            self.group = Some(group);
        }
        front
    }
}

fn there(program: String) -> Front {
    Front { program: Some(program), ..Front::default() }
}

fn judged(known: &Front, who: Who, is_same_process: bool) -> Front {
    match (&known.program, who) {
        (program, Who::Shell(name)) => Front { program: program.clone(), instead: Some(name), is_shell: true },
        (None, Who::Cli(name)) => there(name),
        // What a shell runs comes and goes, and what is typed meanwhile the shell reads.
        (None, Who::Other(_)) if known.is_shell => known.clone(),
        (None, Who::Other(name)) => there(name),
        (Some(program), Who::Cli(name) | Who::Other(name)) if is_same_process || *program == name => {
            there(program.clone())
        }
        (Some(program), Who::Cli(name) | Who::Other(name)) => {
            Front { program: Some(program.clone()), instead: Some(name), is_shell: false }
        }
    }
}

/// `None` of a process without a command line: it is just ending.
fn who(words: &[String], clis: &[String]) -> Option<Who> {
    let names: Vec<&str> = words.iter().take(NAMED_WITHIN).flat_map(|word| word.split_whitespace().take(2)).collect();
    let first = base(words.first()?);
    if SHELLS.contains(&first) && is_prompt(&words[1..]) {
        return Some(Who::Shell(first.to_owned()));
    }
    if let Some(cli) = names.iter().map(|name| base(name)).find(|name| clis.iter().any(|cli| cli == name)) {
        return Some(Who::Cli(cli.to_owned()));
    }
    let runs = names.iter().skip(1).find(|name| !name.starts_with('-')).filter(|_| RUNNERS.contains(&first));
    Some(Who::Other(runs.map_or(first, |name| base(name)).to_owned()))
}

/// Without the path, the dash of a login shell and what scripts end in.
fn base(word: &str) -> &str {
    let word = word.split_whitespace().next().unwrap_or(word);
    let name = word.rsplit('/').next().unwrap_or(word).trim_start_matches('-');
    [".js", ".mjs", ".cjs", ".py"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name)
}

/// Whether a shell that was told this reads what is typed: one with a script or a command does as it was told.
fn is_prompt(said: &[String]) -> bool {
    let mut said = said.iter().map(String::as_str);
    while let Some(word) = said.next() {
        match word {
            "--rcfile" | "--init-file" | "-o" | "+o" | "-O" | "+O" => drop(said.next()),
            "--command" => return false,
            long if long.starts_with("--") => {}
            // Letters in a row: `-lic` is told a command. Longer ones are words, as PowerShell has them.
            letters if letters.starts_with(['-', '+']) => {
                if letters.len() <= 5 && letters.contains('c') {
                    return false;
                }
            }
            _ => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split('|').map(str::to_owned).collect()
    }

    fn seen(line: &str) -> Who {
        who(&words(line), &["claude".to_owned(), "codex".to_owned()]).unwrap()
    }

    #[test]
    fn a_shell_at_its_prompt_is_told_from_a_program() {
        let shells =
            ["-bash", "/bin/sh", "zsh|-i", "bash|--rcfile|/tmp/rc", "fish|--login", "bash|-l|-o|vi", "pwsh|-NoLogo"];
        for shell in shells {
            assert!(matches!(seen(shell), Who::Shell(_)), "{shell}: {:?}", seen(shell));
        }
        let others = [
            ("sh|-c|claude; exec sh", Who::Other("sh".into())),
            ("bash|-lic|make", Who::Other("bash".into())),
            ("sh|./work.sh", Who::Other("sh".into())),
            ("/usr/bin/vim|sh", Who::Other("vim".into())),
            ("claude", Who::Cli("claude".into())),
            ("node|/usr/lib/node_modules/.bin/codex.js|resume", Who::Cli("codex".into())),
            ("claude --resume|", Who::Cli("claude".into())),
            ("python3|-u|/opt/agent.py", Who::Other("agent".into())),
        ];
        for (line, who) in others {
            assert_eq!(seen(line), who, "{line}");
        }
    }

    #[test]
    fn the_agent_is_there_until_another_has_its_keyboard_and_again_when_it_is_back() {
        let shell = || Who::Shell("sh".into());
        let claude = || Who::Cli("claude".into());
        let vim = || Who::Other("vim".into());
        let there = there("claude".into());
        let mut front = judged(&Front::default(), claude(), false);
        assert_eq!(front, there);
        for (other, is_shell) in [(shell(), true), (vim(), false), (Who::Cli("codex".into()), false)] {
            front = judged(&front, other.clone(), false);
            assert!(front.is_away() && front.is_shell == is_shell, "{other:?}: {front:?}");
        }
        front = judged(&front, claude(), false);
        assert_eq!(front, there);
        // It calls itself something else, and is still the same process.
        assert_eq!(judged(&front, Who::Other("2.1.5".into()), true), there);
        assert!(judged(&front, shell(), true).is_away(), "it has become a shell");
    }

    #[test]
    fn a_shell_that_was_meant_stays_one_until_an_agent_is_begun_in_it() {
        let shell = judged(&Front::default(), Who::Shell("sh".into()), false);
        assert!(!shell.is_away() && shell.is_shell);
        assert_eq!(judged(&shell, Who::Other("make".into()), false), shell);
        let claude = judged(&shell, Who::Cli("claude".into()), false);
        assert_eq!(claude, there("claude".into()));
        assert!(judged(&claude, Who::Shell("sh".into()), false).is_away());
    }
}
