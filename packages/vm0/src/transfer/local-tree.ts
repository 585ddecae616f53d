import { lstatSync, readdirSync, readFileSync, type Stats } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import { ignoreFiles, IgnoreRules, Vm0Error, type FolderEntry, type FolderRules } from '@vm0/contract/client'
import ignore from 'ignore'

export interface LocalEntry {
  /** Absolute. */
  path: string
  /** Below the root, with slashes. */
  name: string
  info: LocalInfo
  /** All that is in a small file, where it was read before: as many bytes as `info` says. */
  content?: Uint8Array
}

/** What is needed of what the system says: a hundred thousand of its own objects, with their dates, keep the collector busy. */
export interface LocalInfo {
  kind: 'file' | 'folder' | 'link' | 'other'
  mode: number
  size: number
  mtimeMs: number
  ctimeMs: number
  ino: number
}

/** The bits of a mode that tell the kind, and their values. */
const kindBits = 0o170000
const kinds = new Map<number, LocalInfo['kind']>([
  [0o100000, 'file'],
  [0o040000, 'folder'],
  [0o120000, 'link'],
])
export const kindOfMode = (mode: number): LocalInfo['kind'] => kinds.get(mode & kindBits) ?? 'other'

export function infoOf({ mode, size, mtimeMs, ctimeMs, ino }: Omit<LocalInfo, 'kind'>): LocalInfo {
  return { kind: kindOfMode(mode), mode, size, mtimeMs, ctimeMs, ino }
}

/** Throws for what is no file, folder or link. */
export function kindOf({ name, info: { kind } }: LocalEntry): FolderEntry['kind'] {
  if (kind !== 'other') return kind
  throw new Vm0Error('FILE_INVALID', `${name} is a socket, pipe or device; expected files, folders and links`, {
    hint: 'Remove it, or choose another folder.',
  })
}

export class WalkedEntry implements LocalEntry {
  content?: Uint8Array

  constructor(
    private readonly root: string,
    readonly name: string,
    readonly info: LocalInfo,
  ) {}

  get path(): string {
    return `${this.root}/${this.name}`
  }
}

export interface WalkOptions {
  /** Leave out what .gitignore and .vm0ignore files exclude. */
  gitignore: boolean
  /** Patterns that hold for the whole folder, too. */
  rules?: readonly FolderRules[]
  /** Is told of every ignore file that holds. */
  onRules?: (rules: FolderRules) => void
}

/** How long the walk may keep everything else of the program waiting. */
export const sliceMs = 15

/** Is told of an entry by the folder that it is in (below the root, empty for the root) and its name in it, '' for the folder itself. */
export type TakeStats = (folder: string, child: string, stats: Stats) => void

/** Takes what is in a local folder, folders before what they hold, in the same order each time. */
export function walkFolder(
  root: string,
  options: WalkOptions,
  take: (entry: LocalEntry) => void,
  signal?: AbortSignal,
): Promise<void> {
  const takeStats: TakeStats = (folder, child, stats) =>
    take(new WalkedEntry(root, below(folder, child), infoOf(stats)))
  return walkStats(root, options, takeStats, signal)
}

/**
 * The same without an object for each. A folder comes first, then what is in it but folders, sorted by name, then one folder
 * after the other: programs that unpack it set a folder's times once they have left it.
 */
export async function walkStats(
  root: string,
  options: WalkOptions,
  take: TakeStats,
  signal?: AbortSignal,
): Promise<void> {
  let sliceEndsMs = performance.now() + sliceMs
  for (const _ of walkNow(root, options, take)) {
    if (performance.now() < sliceEndsMs) continue
    await setImmediate()
    signal?.throwIfAborted()
    sliceEndsMs = performance.now() + sliceMs
  }
}

/** A turn of the loop for each entry would cost as much as its system call, and so would a look at the clock. */
const entriesPerLook = 64
const quietly = { throwIfNoEntry: false } as const

/** System calls of their own are several times cheaper than the promises of them. Yields where others may have their turn. */
function* walkNow(root: string, { gitignore, rules = [], onRules }: WalkOptions, take: TakeStats): Generator<void> {
  const all = new IgnoreRules((text) => ignore().add(text))
  for (const each of rules) all.add(each)
  const left: { folder: string; stats?: Stats }[] = [{ folder: '' }]
  let taken = 0
  for (let top = left.pop(); top; top = left.pop()) {
    const { folder, stats: own } = top
    if (own) take(folder, '', own)
    const place = folder === '' ? root : `${root}/${folder}`
    const names = readdirSync(place).toSorted()
    if (gitignore)
      for (const file of ignoreFiles) {
        const text = names.includes(file) ? readText(`${place}/${file}`) : ''
        if (!text) continue
        all.add({ folder, text })
        onRules?.({ folder, text })
      }
    const folders: { folder: string; stats: Stats }[] = []
    for (const child of names) {
      if (++taken % entriesPerLook === 0) yield
      const stats = lstatSync(`${place}/${child}`, quietly)
      if (!stats) continue
      const isFolder = stats.isDirectory()
      const name = below(folder, child)
      if (all.excludes(name, isFolder)) continue
      if (isFolder) folders.push({ folder: name, stats })
      else take(folder, child, stats)
    }
    left.push(...folders.toReversed())
  }
}

/** The path of what has this name in a folder; '' is the folder itself. */
export function below(folder: string, name: string): string {
  if (name === '') return folder
  return folder === '' ? name : `${folder}/${name}`
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return '' // a folder of that name, or one that may not be read: it says nothing
  }
}
