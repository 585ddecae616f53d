import { look, type Found, type Node } from '../erofs/overlay.js'

/** What one of two checkpoints shows at a path. */
export type Shown = { kind: 'nothing' } | { kind: 'file'; top: Node } | { kind: 'directory'; top: Node; side: Side }

/** How one of the two makes a directory. */
export interface Side {
  /** The directory in the layers that only this checkpoint has, the topmost first. */
  own: readonly Node[]
  /** Whether the layers below, which both have, show through. */
  open: boolean
}

/** A directory of both checkpoints: where both are open and neither has layers of its own, both show the same. */
export interface Pair {
  before: Side
  after: Side
  /** The directory in the layers that both have, the topmost first. */
  shared: readonly Node[]
}

export interface ShownPair {
  before: Shown
  after: Shown
  /** Of directories: what is in them. */
  inside: Pair | undefined
}

const nothing: Side = { own: [], open: false }

/** A name in a directory, by the layers that have it. */
export interface NamedNodes {
  name: string
  before: readonly Node[]
  after: readonly Node[]
  shared: readonly Node[]
}

export function lookAtPair({ before, after }: Pair, nodes: NamedNodes): ShownPair {
  const below = look(nodes.shared)
  const was = lookThrough(nodes.before, before.open ? below : undefined)
  const is = lookThrough(nodes.after, after.open ? below : undefined)
  const sides = { before: sideOf(was), after: sideOf(is) }
  const differ = sides.before.own.length + sides.after.own.length > 0 || sides.before.open !== sides.after.open
  const shared = below.kind === 'directory' && (sides.before.open || sides.after.open) ? below.merged : []
  const inside = (was.kind === 'directory' || is.kind === 'directory') && differ ? { ...sides, shared } : undefined
  return { before: was, after: is, inside }
}

const sideOf = (shown: Shown): Side => (shown.kind === 'directory' ? shown.side : nothing)

function lookThrough(nodes: readonly Node[], below: Found | undefined): Shown {
  const own = look(nodes)
  const open = below?.kind === 'directory'
  if (own.kind === 'directory')
    return { kind: 'directory', top: own.top, side: { own: own.merged, open: open && !own.closed } }
  if (own.kind === 'file') return own
  if (own.kind === 'whiteout' || !below) return { kind: 'nothing' }
  if (below.kind === 'file') return below
  if (below.kind === 'directory') return { kind: 'directory', top: below.top, side: { own: [], open: true } }
  return { kind: 'nothing' }
}

/** Every name, in order, at which the two sides of a directory may differ. */
export function* namesOf({ before, after, shared }: Pair): Generator<NamedNodes> {
  // What both let through is looked up by name; where only one does, all of it is a difference.
  const listsShared = before.open !== after.open
  const streams = [
    ...before.own.map((node) => stream(node, 'before' as const)),
    ...after.own.map((node) => stream(node, 'after' as const)),
    ...(listsShared ? shared.map((node) => stream(node, 'shared' as const)) : []),
  ]
  for (;;) {
    let name: string | undefined
    for (const { head } of streams) if (head && (name === undefined || head.name < name)) name = head.name
    if (name === undefined) return
    const nodes = { name, before: [] as Node[], after: [] as Node[], shared: [] as Node[] }
    for (const each of streams)
      if (each.head?.name === name) {
        nodes[each.part].push({ layer: each.layer, inode: each.layer.inode(each.head.inode) })
        each.next()
      }
    if (!listsShared && before.open) nodes.shared = lookUp(shared, name)
    yield nodes
  }
}

function stream({ layer, inode }: Node, part: 'before' | 'after' | 'shared') {
  const entries = layer.entries(inode)
  const self = {
    layer,
    part,
    head: entries.next().value,
    next: () => {
      self.head = entries.next().value
    },
  }
  return self
}

function lookUp(directories: readonly Node[], name: string): Node[] {
  const found: Node[] = []
  for (const { layer, inode } of directories) {
    const entry = layer.entry(inode, name)
    if (entry) found.push({ layer, inode: layer.inode(entry.inode) })
  }
  return found
}
