//! The algebra of layout trees: one place where a pane goes in, comes out, and room is shared. Trees that come out are
//! normal (see [`check`]) when those that went in were; sizes of a split always add up to [`WHOLE`].

use std::collections::BTreeSet;

use amux_proto::layout::{Child, Direction, Node, Place, Side};
use amux_proto::{NodeId, PaneId};

/// What the sizes of one split add up to: fine enough for any screen, coarse enough to read.
pub const WHOLE: u32 = 10_000;

/// A tree with one more pane in it, in front of its stack. `fresh` is the id of a split that may become necessary.
/// A place whose anchor is not in the tree is the right edge.
#[must_use]
pub fn insert(root: Option<Node>, pane: PaneId, place: &Place, fresh: NodeId) -> Node {
    let Some(root) = root else { return leaf(pane) };
    match place {
        Place::Beside { pane: anchor, side } if root.contains(*anchor) => beside(root, *anchor, *side, pane, fresh),
        Place::Stack { pane: anchor, index } if root.contains(*anchor) => stack(root, *anchor, *index, pane),
        Place::Edge { side, .. } => edge(root, *side, leaf(pane), fresh),
        Place::Tab { .. } | Place::Beside { .. } | Place::Stack { .. } => edge(root, Side::Right, leaf(pane), fresh),
    }
}

/// A tree without a pane. Its room goes to the neighbour before it, else to the one after, so that closing what was
/// split off to the right or below gives back what was there before.
#[must_use]
pub fn remove(root: Node, pane: PaneId) -> Option<Node> {
    cut(root, pane).map(normal)
}

/// Two trees side by side.
#[must_use]
pub fn graft(root: Option<Node>, other: Node, fresh: NodeId) -> Node {
    match root {
        Some(root) => edge(root, Side::Right, other, fresh),
        None => other,
    }
}

/// A closed pane back where it was: exactly when the rest still stands as it did, else beside the nearest of its old
/// neighbours, else at the right edge.
#[must_use]
pub fn reinstate(root: Option<Node>, before: &Node, pane: PaneId, fresh: NodeId) -> Node {
    let Some(root) = root else { return leaf(pane) };
    if remove(before.clone(), pane).is_some_and(|without| same_shape(&without, &root)) {
        let shown = visible(&root).into_iter().fold(before.clone(), activate);
        return activate(shown, pane);
    }
    let present: BTreeSet<PaneId> = root.panes().into_iter().collect();
    match old_neighbour(before, pane, &present) {
        Some(place) => insert(Some(root), pane, &place, fresh),
        None => edge(root, Side::Right, leaf(pane), fresh),
    }
}

/// In front of its stack.
#[must_use]
pub fn activate(root: Node, pane: PaneId) -> Node {
    map_leaf(root, pane, &mut |panes, _| Node::Leaf { panes, active: pane })
}

/// `None`: there is no such split, or it has another number of children, or a size is 0.
pub fn resize(root: &Node, split: NodeId, sizes: &[u32]) -> Option<Node> {
    let Node::Split { id, direction, children } = root else { return None };
    let resized = |children| Some(Node::Split { id: *id, direction: *direction, children });
    if *id == split {
        if sizes.len() != children.len() || sizes.contains(&0) {
            return None;
        }
        let sizes = share(&sizes.iter().map(|size| u64::from(*size)).collect::<Vec<_>>(), WHOLE);
        return resized(
            children.iter().zip(sizes).map(|(child, size)| Child { size, node: child.node.clone() }).collect(),
        );
    }
    let (at, node) =
        children.iter().enumerate().find_map(|(at, child)| Some((at, resize(&child.node, split, sizes)?)))?;
    let mut children = children.clone();
    children[at].node = node;
    resized(children)
}

/// The panes in front of their stacks, in reading order.
pub fn visible(root: &Node) -> Vec<PaneId> {
    match root {
        Node::Leaf { active, .. } => vec![*active],
        Node::Split { children, .. } => children.iter().flat_map(|child| visible(&child.node)).collect(),
    }
}

/// The panes of the stack a pane is in.
pub fn stack_of(root: &Node, pane: PaneId) -> Option<&[PaneId]> {
    match root {
        Node::Leaf { panes, .. } => panes.contains(&pane).then_some(panes),
        Node::Split { children, .. } => children.iter().find_map(|child| stack_of(&child.node, pane)),
    }
}

/// Whether the same panes stand in the same order in the same splits, whatever their sizes and whichever is in front.
pub fn same_shape(a: &Node, b: &Node) -> bool {
    match (a, b) {
        (Node::Leaf { panes: a, .. }, Node::Leaf { panes: b, .. }) => a == b,
        (Node::Split { direction: a, children: of_a, .. }, Node::Split { direction: b, children: of_b, .. }) => {
            a == b && of_a.len() == of_b.len() && of_a.iter().zip(of_b).all(|(a, b)| same_shape(&a.node, &b.node))
        }
        (Node::Leaf { .. }, Node::Split { .. }) | (Node::Split { .. }, Node::Leaf { .. }) => false,
    }
}

/// What has the focus after a tree changed: what had it, while it can be seen; else what took its place in front of
/// its stack; else its neighbour.
pub fn refocus(before: Option<&Node>, after: Option<&Node>, focus: Option<PaneId>) -> Option<PaneId> {
    let after = after?;
    let shown = visible(after);
    let in_front_of = |pane: PaneId| {
        let stack = stack_of(after, pane)?;
        shown.iter().copied().find(|visible| stack.contains(visible))
    };
    let from = focus.and_then(|focus| {
        in_front_of(focus).or_else(|| {
            let before = before?;
            stack_of(before, focus)?.iter().find_map(|mate| in_front_of(*mate)).or_else(|| {
                let mut seen = visible(before);
                let at = seen.iter().position(|pane| *pane == focus)?;
                seen.remove(at);
                in_front_of(neighbour(&seen, at)?)
            })
        })
    });
    from.or_else(|| shown.first().copied())
}

/// Who follows what was taken out of a list at `index`: the right neighbour, else the left one.
pub fn neighbour<T: Copy>(rest: &[T], index: usize) -> Option<T> {
    rest.get(index).or(rest.last()).copied()
}

/// What is wrong with a tree; nothing with a normal one.
pub fn check(root: &Node) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut splits = BTreeSet::new();
    check_node(root, None, &mut splits, &mut wrong);
    let panes = root.panes();
    if panes.iter().collect::<BTreeSet<_>>().len() != panes.len() {
        wrong.push("a pane stands in it twice".into());
    }
    wrong
}

fn check_node(node: &Node, outer: Option<Direction>, splits: &mut BTreeSet<NodeId>, wrong: &mut Vec<String>) {
    match node {
        Node::Leaf { panes, active } => {
            if !panes.contains(active) {
                wrong.push(format!("{active} is in front of a stack it is not in"));
            }
        }
        Node::Split { id, direction, children } => {
            if children.len() < 2 {
                wrong.push(format!("split {id} has fewer than two children"));
            }
            if outer == Some(*direction) {
                wrong.push(format!("split {id} splits in the direction of its parent"));
            }
            if children.iter().any(|child| child.size == 0)
                || children.iter().map(|child| u64::from(child.size)).sum::<u64>() != u64::from(WHOLE)
            {
                wrong.push(format!("the sizes of split {id} are not {WHOLE} in parts above 0"));
            }
            if !splits.insert(*id) {
                wrong.push(format!("two splits are {id}"));
            }
            for child in children {
                check_node(&child.node, Some(*direction), splits, wrong);
            }
        }
    }
}

fn leaf(pane: PaneId) -> Node {
    Node::Leaf { panes: vec![pane], active: pane }
}

/// A split of the anchor's room in two halves; within a split of the same direction no new one is made.
fn beside(node: Node, anchor: PaneId, side: Side, pane: PaneId, fresh: NodeId) -> Node {
    match node {
        Node::Leaf { ref panes, .. } if panes.contains(&anchor) => halves(side, node, leaf(pane), fresh),
        Node::Leaf { .. } => node,
        Node::Split { id, direction, mut children } => {
            let at = children.iter().position(|child| child.node.contains(anchor));
            match at {
                Some(at) if direction == side.direction() && matches!(children[at].node, Node::Leaf { .. }) => {
                    let size = halve(&mut children, at);
                    let at = if side.is_before() { at } else { at + 1 };
                    children.insert(at, Child { size, node: leaf(pane) });
                }
                Some(at) => {
                    let child = children.remove(at);
                    let node = beside(child.node, anchor, side, pane, fresh);
                    children.insert(at, Child { size: child.size, node });
                }
                None => {}
            }
            Node::Split { id, direction, children }
        }
    }
}

/// Takes half of one child's size, and of the largest one's when a half would be nothing.
fn halve(children: &mut [Child], at: usize) -> u32 {
    let half = children[at].size / 2;
    if half > 0 {
        children[at].size -= half;
        return half;
    }
    if let Some(largest) = children.iter_mut().max_by_key(|child| child.size) {
        largest.size -= 1;
    }
    1
}

fn stack(node: Node, anchor: PaneId, index: Option<u32>, pane: PaneId) -> Node {
    map_leaf(node, anchor, &mut |mut panes, _| {
        let at = index.and_then(|index| usize::try_from(index).ok()).unwrap_or(usize::MAX).min(panes.len());
        panes.insert(at, pane);
        Node::Leaf { panes, active: pane }
    })
}

/// A newcomer at the edge gets the room of one of so many; across the grain it gets half.
fn edge(root: Node, side: Side, other: Node, fresh: NodeId) -> Node {
    match root {
        Node::Split { id, direction, children } if direction == side.direction() => {
            let size = WHOLE / (u32::try_from(children.len()).unwrap_or(WHOLE) + 1);
            let weights: Vec<u64> = children.iter().map(|child| u64::from(child.size)).collect();
            let sizes = share(&weights, WHOLE - size);
            let mut children: Vec<Child> =
                children.into_iter().zip(sizes).map(|(child, size)| Child { size, node: child.node }).collect();
            let at = if side.is_before() { 0 } else { children.len() };
            children.insert(at, Child { size, node: other });
            normal(Node::Split { id, direction, children })
        }
        root => normal(halves(side, root, other, fresh)),
    }
}

fn halves(side: Side, node: Node, other: Node, fresh: NodeId) -> Node {
    let (first, second) = if side.is_before() { (other, node) } else { (node, other) };
    let children = [first, second].into_iter().map(|node| Child { size: WHOLE / 2, node }).collect();
    Node::Split { id: fresh, direction: side.direction(), children }
}

fn cut(node: Node, pane: PaneId) -> Option<Node> {
    match node {
        Node::Leaf { mut panes, active } => {
            let Some(at) = panes.iter().position(|other| *other == pane) else {
                return Some(Node::Leaf { panes, active });
            };
            panes.remove(at);
            let active = if active == pane { neighbour(&panes, at)? } else { active };
            Some(Node::Leaf { panes, active })
        }
        Node::Split { id, direction, mut children } => {
            if let Some(at) = children.iter().position(|child| child.node.contains(pane)) {
                let Child { size, node } = children.remove(at);
                match cut(node, pane) {
                    Some(node) => children.insert(at, Child { size, node }),
                    None => children.get_mut(at.saturating_sub(1))?.size += size,
                }
            }
            Some(Node::Split { id, direction, children })
        }
    }
}

/// Splits with one child become that child; splits within a split of the same direction become part of it.
fn normal(node: Node) -> Node {
    let Node::Split { id, direction, children } = node else { return node };
    let mut nodes = Vec::with_capacity(children.len());
    let mut weights = Vec::with_capacity(children.len());
    for Child { size, node } in children {
        match normal(node) {
            Node::Split { direction: inner, children, .. } if inner == direction => {
                for child in children {
                    weights.push(u64::from(size) * u64::from(child.size));
                    nodes.push(child.node);
                }
            }
            node => {
                weights.push(u64::from(size) * u64::from(WHOLE));
                nodes.push(node);
            }
        }
    }
    if nodes.len() == 1 {
        return nodes.remove(0);
    }
    let sizes = share(&weights, WHOLE);
    let children = nodes.into_iter().zip(sizes).map(|(node, size)| Child { size, node }).collect();
    Node::Split { id, direction, children }
}

/// Shares `whole` by weight, nobody gets nothing, and nothing is lost: what rounding leaves goes to those it cost most.
fn share(weights: &[u64], whole: u32) -> Vec<u32> {
    let total: u64 = weights.iter().map(|weight| weight.max(&1)).sum();
    let exact = |weight: &u64| weight.max(&1) * u64::from(whole);
    let mut sizes: Vec<u32> =
        weights.iter().map(|weight| u32::try_from(exact(weight) / total).unwrap_or(whole).max(1)).collect();
    let mut by_loss: Vec<usize> = (0..weights.len()).collect();
    by_loss.sort_by_key(|at| (std::cmp::Reverse(exact(&weights[*at]) % total), *at));
    let mut given: u32 = sizes.iter().sum();
    for at in by_loss {
        if given < whole {
            sizes[at] += 1;
            given += 1;
        }
    }
    while given > whole {
        let Some(largest) = sizes.iter_mut().max() else { break };
        *largest -= 1;
        given -= 1;
    }
    sizes
}

fn map_leaf(node: Node, pane: PaneId, how: &mut dyn FnMut(Vec<PaneId>, PaneId) -> Node) -> Node {
    match node {
        Node::Leaf { panes, active } if panes.contains(&pane) => how(panes, active),
        Node::Leaf { .. } => node,
        Node::Split { id, direction, children } => {
            let children = children
                .into_iter()
                .map(|Child { size, node }| Child { size, node: map_leaf(node, pane, how) })
                .collect();
            Node::Split { id, direction, children }
        }
    }
}

/// The place beside the nearest pane that stood next to this one and still stands.
fn old_neighbour(before: &Node, pane: PaneId, present: &BTreeSet<PaneId>) -> Option<Place> {
    match before {
        Node::Leaf { panes, .. } => {
            let index = panes.iter().position(|other| *other == pane)?;
            let mate = panes.iter().find(|mate| present.contains(mate))?;
            Some(Place::Stack { pane: *mate, index: u32::try_from(index).ok() })
        }
        Node::Split { direction, children, .. } => {
            let at = children.iter().position(|child| child.node.contains(pane))?;
            let (to_the_right, to_the_left) = match direction {
                Direction::Row => (Side::Right, Side::Left),
                Direction::Column => (Side::Down, Side::Up),
            };
            old_neighbour(&children[at].node, pane, present)
                .or_else(|| {
                    let earlier = children[..at].iter().rev().flat_map(|child| child.node.panes().into_iter().rev());
                    let anchor = earlier.into_iter().find(|pane| present.contains(pane))?;
                    Some(Place::Beside { pane: anchor, side: to_the_right })
                })
                .or_else(|| {
                    let later = children[at + 1..].iter().flat_map(|child| child.node.panes());
                    let anchor = later.into_iter().find(|pane| present.contains(pane))?;
                    Some(Place::Beside { pane: anchor, side: to_the_left })
                })
        }
    }
}
