import type { Node } from '../erofs/overlay.js'
import { sameAttributes, sameContent } from './compare.js'
import { lookAtPair, namesOf, type NamedNodes, type Pair, type Shown } from './stacks.js'

export interface Difference {
  /** Names from the root down, each a latin1 view of its bytes. */
  path: string[]
  /** What is there; undefined where there is nothing. */
  before: Node | undefined
  after: Node | undefined
  contentDiffers: boolean
}

export interface WalkScope {
  /** Only this path and what is below it; names as they are shown, so what is no UTF-8 is met by its replacement. */
  under: readonly string[]
  /** Leave this one out, with what is below it. */
  but?: readonly string[]
  /** Only what comes after it: the path of an earlier difference. */
  after: readonly string[]
}

interface Frame {
  pair: Pair
  names: Generator<NamedNodes>
  path: string[]
  /** What is left of `after` at and below this directory: names before it were told of. */
  after: readonly string[]
}

const shownName = (name: string): string => Buffer.from(name, 'latin1').toString('utf8')

/**
 * What differs between two directories, a directory before what is in it and names in the order of their bytes. Of each
 * directory on the way one entry is held, so trees of any size need little memory.
 */
export function* differences(root: Pair, { under, but, after }: WalkScope): Generator<Difference> {
  const stack: Frame[] = [{ pair: root, names: namesOf(root), path: [], after }]
  for (let frame = stack.at(-1); frame; frame = stack.at(-1)) {
    const { value: nodes } = frame.names.next() as IteratorResult<NamedNodes, undefined>
    if (!nodes) {
      stack.pop()
      continue
    }
    const depth = frame.path.length
    const [told] = frame.after
    if (told !== undefined && nodes.name < told) continue
    if (depth < under.length && shownName(nodes.name) !== under[depth]) continue
    const path = [...frame.path, nodes.name]
    if (but?.length === path.length && path.every((name, index) => shownName(name) === but[index])) continue
    const shown = lookAtPair(frame.pair, nodes)
    const isTold = nodes.name === told
    if (!isTold && path.length >= under.length) {
      const difference = compare(path, shown.before, shown.after)
      if (difference) yield difference
    }
    if (shown.inside)
      stack.push({
        pair: shown.inside,
        names: namesOf(shown.inside),
        path,
        after: isTold ? frame.after.slice(1) : [],
      })
  }
}

function compare(path: string[], was: Shown, is: Shown): Difference | undefined {
  const before = was.kind === 'nothing' ? undefined : was.top
  const after = is.kind === 'nothing' ? undefined : is.top
  if (!before && !after) return undefined
  if (!before || !after) return { path, before, after, contentDiffers: true }
  if (before.layer === after.layer && before.inode.number === after.inode.number) return undefined
  const contentDiffers = !sameContent(before, after)
  return contentDiffers || !sameAttributes(before, after) ? { path, before, after, contentDiffers } : undefined
}
