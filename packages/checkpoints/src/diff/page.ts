import type { CheckpointDiff, DiffEntry, DiffSide } from '@vm0/contract'
import { fileTypes } from '../erofs/format.js'
import { rootOf, type Node } from '../erofs/overlay.js'
import type { ErofsReader } from '../erofs/reader.js'
import { typeOf } from './compare.js'
import { patchOf, type Patch } from './patch.js'
import type { Pair } from './stacks.js'
import { differences, type Difference } from './walk.js'

export interface DiffOptions {
  /** The folder or file that is looked at; `/` for everything. */
  path: string
  /** Of text files the hunks of a unified diff. */
  patch: boolean
  limit: number
  /** `next` of the page before. */
  after?: string | undefined
  /** Count what differs elsewhere, too. */
  elsewhere: boolean
}

export type DiffPage = Omit<CheckpointDiff, 'checkpoint' | 'against'>

export interface Stacks {
  /** Layers that only the one checkpoint has, those that only the other has, and what is below both; the topmost first. */
  before: readonly ErofsReader[]
  after: readonly ErofsReader[]
  shared: readonly ErofsReader[]
}

/** More are not counted: who wants to know looks at them. */
export const countedElsewhere = 10_000
/** Of all patches of a page: the one that goes past it is the last. */
const pagePatchBytes = 4 * 1024 ** 2

export function diffPage(stacks: Stacks, query: DiffOptions): DiffPage {
  const root: Pair = {
    before: { own: stacks.before.map(rootOf), open: true },
    after: { own: stacks.after.map(rootOf), open: true },
    shared: stacks.shared.map(rootOf),
  }
  const under = query.path.split('/').filter((name) => name !== '')
  const page: DiffPage = { items: [], next: null, elsewhere: null }
  let patched = 0
  let last: string[] = []
  for (const difference of differences(root, { under, after: query.after ? fromCursor(query.after) : [] })) {
    if (page.items.length >= query.limit || patched >= pagePatchBytes) {
      page.next = toCursor(last)
      break
    }
    const entry = entryOf(difference, query.patch)
    patched += entry.patch?.length ?? 0
    page.items.push(entry)
    last = difference.path
  }
  if (query.elsewhere && under.length > 0) page.elsewhere = countElsewhere(root, under)
  return page
}

function countElsewhere(root: Pair, but: readonly string[]): number {
  let count = 0
  for (const { before, after } of differences(root, { under: [], but, after: [] }))
    if (sideOf(before)?.type !== 'directory' && sideOf(after)?.type !== 'directory' && ++count >= countedElsewhere)
      break
  return count
}

function entryOf(difference: Difference, wantsPatch: boolean): DiffEntry {
  const { path, before, after, contentDiffers } = difference
  const patch = wantsPatch && contentDiffers ? patchOf(difference) : undefined
  return {
    path: `/${Buffer.from(path.join('/'), 'latin1').toString('utf8')}`,
    change: !before ? 'added' : !after ? 'removed' : 'changed',
    before: sideOf(before),
    after: sideOf(after),
    contentChanged: contentDiffers,
    ...partsOf(patch),
  }
}

function partsOf(patch: Patch | undefined): Pick<DiffEntry, 'patch' | 'patchLeftOut'> {
  if (!patch) return {}
  return 'text' in patch ? { patch: patch.text } : { patchLeftOut: patch.leftOut }
}

function sideOf(node: Node | undefined): DiffSide | null {
  if (!node) return null
  const types = { [fileTypes.regular]: 'file', [fileTypes.directory]: 'directory', [fileTypes.symlink]: 'symlink' }
  const type = (types as Record<number, DiffSide['type']>)[typeOf(node)] ?? 'other'
  const hasContent = type === 'file' || type === 'symlink'
  return { type, sizeBytes: hasContent ? node.inode.size : 0, mode: node.inode.mode & 0o7777 }
}

/** Names are bytes: a cursor carries them as they are. */
const toCursor = (path: readonly string[]): string => Buffer.from(path.join('/'), 'latin1').toString('base64url')
const fromCursor = (cursor: string): string[] => Buffer.from(cursor, 'base64url').toString('latin1').split('/')
