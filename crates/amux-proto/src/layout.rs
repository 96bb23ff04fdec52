//! The shape of a tab: a tree of splits whose leaves are stacks of panes. The algebra is in `amux-core`; clients
//! send a [`Place`] and receive the resulting tree, so there is one algorithm and no second opinion.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::ids::{NodeId, PaneId, TabId};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(tag = "type", rename_all = "snake_case")]
#[ts(rename = "LayoutNode")]
#[schemars(rename = "LayoutNode")]
pub enum Node {
    /// One visible pane and those stacked behind it; never empty, `active` is one of them.
    Leaf { panes: Vec<PaneId>, active: PaneId },
    /// Two or more children; a child never splits in the same direction.
    Split { id: NodeId, direction: Direction, children: Vec<Child> },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[ts(rename = "LayoutChild")]
#[schemars(rename = "LayoutChild")]
pub struct Child {
    /// Share of the split, in parts of the sum of all children's; never 0.
    pub size: u32,
    pub node: Node,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Children side by side.
    Row,
    /// Children on top of each other.
    Column,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    Left,
    Right,
    Up,
    Down,
}

/// Where a pane goes. To exist and to be placed are one act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Place {
    /// Alone in an empty tab, else at the right edge of it.
    Tab { tab: TabId },
    /// Beside a pane's leaf, taking half of its room.
    Beside { pane: PaneId, side: Side },
    /// At the outer edge of a tab.
    Edge { tab: TabId, side: Side },
    /// In the stack of another pane, at `index` or behind the last.
    Stack { pane: PaneId, index: Option<u32> },
}

impl Side {
    pub fn direction(self) -> Direction {
        match self {
            Self::Left | Self::Right => Direction::Row,
            Self::Up | Self::Down => Direction::Column,
        }
    }

    pub fn is_before(self) -> bool {
        matches!(self, Self::Left | Self::Up)
    }
}

impl Node {
    /// Every pane, in reading order.
    pub fn panes(&self) -> Vec<PaneId> {
        match self {
            Self::Leaf { panes, .. } => panes.clone(),
            Self::Split { children, .. } => children.iter().flat_map(|child| child.node.panes()).collect(),
        }
    }

    pub fn contains(&self, pane: PaneId) -> bool {
        match self {
            Self::Leaf { panes, .. } => panes.contains(&pane),
            Self::Split { children, .. } => children.iter().any(|child| child.node.contains(pane)),
        }
    }
}
