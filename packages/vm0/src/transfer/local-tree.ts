import { lstatSync, readdirSync, readFileSync, type Stats } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import { ignoreFiles, IgnoreRules, type FolderRules } from '@vm0/contract/client'
import ignore from 'ignore'

export interface LocalEntry {
  /** Absolute. */
  path: string
  /** Below the root, with slashes. */
  name: string
  info: LocalInfo
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

export function infoOf(stats: Stats): LocalInfo {
  const { mode, size, mtimeMs, ctimeMs, ino } = stats
  const kind = stats.isFile() ? 'file' : stats.isDirectory() ? 'folder' : stats.isSymbolicLink() ? 'link' : 'other'
  return { kind, mode, size, mtimeMs, ctimeMs, ino }
}

class WalkedEntry implements LocalEntry {
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

/** Takes what is in a local folder, folders before what they hold, in the same order each time. */
export async function walkFolder(
  root: string,
  options: WalkOptions,
  take: (entry: LocalEntry) => void,
  signal?: AbortSignal,
): Promise<void> {
  let sliceEndsMs = performance.now() + sliceMs
  let taken = 0
  // A turn of the loop for each entry would cost as much as its system call, and so would a look at the clock.
  for (const entry of walkNow(root, options)) {
    take(entry)
    taken += 1
    if (taken % 64 !== 0 || performance.now() < sliceEndsMs) continue
    await setImmediate()
    signal?.throwIfAborted()
    sliceEndsMs = performance.now() + sliceMs
  }
}

/** System calls of their own are several times cheaper than the promises of them. */
function* walkNow(root: string, { gitignore, rules = [], onRules }: WalkOptions): Generator<LocalEntry> {
  const all = new IgnoreRules((text) => ignore().add(text))
  for (const each of rules) all.add(each)
  const stack: { folder: string; names: string[]; next: number }[] = []
  const enter = (folder: string): void => {
    const names = readdirSync(folder === '' ? root : `${root}/${folder}`).toSorted()
    if (gitignore)
      for (const file of ignoreFiles) {
        const text = names.includes(file) ? readText(`${root}/${below(folder, file)}`) : ''
        if (!text) continue
        all.add({ folder, text })
        onRules?.({ folder, text })
      }
    stack.push({ folder, names, next: 0 })
  }
  enter('')
  for (let top = stack.at(-1); top; top = stack.at(-1)) {
    const child = top.names[top.next++]
    if (child === undefined) {
      stack.pop()
      continue
    }
    const name = below(top.folder, child)
    const stats = lstatSync(`${root}/${name}`, { throwIfNoEntry: false })
    if (!stats || all.excludes(name, stats.isDirectory())) continue
    const info = infoOf(stats)
    yield new WalkedEntry(root, name, info)
    if (info.kind === 'folder') enter(name)
  }
}

const below = (folder: string, name: string): string => (folder === '' ? name : `${folder}/${name}`)

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return '' // a folder of that name, or one that may not be read: it says nothing
  }
}
