export interface Weighed {
  pid: number
  parentPid: number
  rssBytes: number
  /** In the last minute. */
  grewBytes: number
}

export interface Runaway<P extends Weighed> {
  /** The one that really grew, or is the largest. */
  main: P
  /** What ending it means: the process with what it started, or the whole tree where no single one is to blame. */
  all: readonly P[]
  rssBytes: number
  isAgent: boolean
}

/** Less growth than this tells nothing: the size decides. */
const noticeableBytes = 16 * 1024 ** 2
/** An agent is what the others exist for: it is blamed where none of them is of this share of its size. */
const smallShare = 0.25

/**
 * Who has used up a sandbox's memory. Processes are looked at as trees: each child of the agent with what it started, each
 * tree that belongs to nobody, and the agent itself, alone. The tree that grew most is to blame, and in it the one process
 * that has more than half of its memory; where none has, as of many workers, the whole tree.
 */
export function runawayOf<P extends Weighed>(
  processes: readonly P[],
  agentPid: number | undefined,
): Runaway<P> | undefined {
  const trees = treesOf(processes, agentPid)
  const others = trees.filter(([root]) => root.pid !== agentPid)
  const agent = trees.find(([root]) => root.pid === agentPid)
  const [most] = others.toSorted(([, a], [, b]) => weight(b) - weight(a) || size(b) - size(a))
  const isSmall = agent && (most === undefined || size(most[1]) < size(agent[1]) * smallShare)
  const chosen = isSmall ? agent : most
  if (!chosen) return undefined
  const [root, all] = chosen
  const main = all.toSorted((a, b) => b.rssBytes - a.rssBytes)[0] ?? root
  const single = main.rssBytes > size(all) / 2 && main.pid !== root.pid
  const ended = single ? descendants(main, all) : all
  return { main, all: ended, rssBytes: size(ended), isAgent: root.pid === agentPid }
}

const size = (tree: readonly Weighed[]): number => tree.reduce((sum, { rssBytes }) => sum + rssBytes, 0)

function weight(tree: readonly Weighed[]): number {
  const grew = tree.reduce((sum, { grewBytes }) => sum + Math.max(0, grewBytes), 0)
  return grew >= noticeableBytes ? grew : 0
}

function treesOf<P extends Weighed>(processes: readonly P[], agentPid: number | undefined): [P, P[]][] {
  const ids = new Set(processes.map(({ pid }) => pid))
  const isRoot = ({ pid, parentPid }: P): boolean => pid === agentPid || parentPid === agentPid || !ids.has(parentPid)
  return processes
    .filter(isRoot)
    .map((root) => [root, root.pid === agentPid ? [root] : descendants(root, processes)] as [P, P[]])
}

/** With itself, as first. */
export function descendants<P extends Pick<Weighed, 'pid' | 'parentPid'>>(root: P, processes: readonly P[]): P[] {
  const found = [root]
  const children = new Map<number, P[]>()
  for (const each of processes) children.set(each.parentPid, [...(children.get(each.parentPid) ?? []), each])
  const ids = new Set([root.pid])
  for (const parent of found)
    for (const child of children.get(parent.pid) ?? []) {
      // Ids are read one after the other, and may have been given anew meanwhile.
      if (ids.has(child.pid)) continue
      ids.add(child.pid)
      found.push(child)
    }
  return found
}
