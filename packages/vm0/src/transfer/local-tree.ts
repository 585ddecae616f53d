import { lstatSync, readdirSync, readFileSync, type Stats } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import { ignoreFiles, IgnoreRules, Vm0Error, type ErrorCode, type FolderRules } from '@vm0/contract/client'
import ignore from 'ignore'
import type { TarSource } from 'modern-tar/fs'

export interface LocalEntry {
  /** Absolute. */
  path: string
  /** Below the root, with slashes. */
  name: string
  info: Stats
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

/** What is in a local folder, folders before what they hold. */
export async function* walkFolder(root: string, options: WalkOptions): AsyncGenerator<LocalEntry> {
  let sliceEndsMs = performance.now() + sliceMs
  for (const entry of walkNow(root, options)) {
    yield entry
    if (performance.now() < sliceEndsMs) continue
    await setImmediate()
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
    const path = `${root}/${name}`
    const info = lstatSync(path, { throwIfNoEntry: false })
    if (!info || all.excludes(name, info.isDirectory())) continue
    yield { path, name, info }
    if (info.isDirectory()) enter(name)
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

/** The entry as it goes into a tar; what no tar of ours may hold is refused with `code`. */
export function tarSource({ path, name, info }: LocalEntry, code: ErrorCode): TarSource {
  const mode = info.mode & 0o777
  if (name.includes('\\'))
    throw new Vm0Error(code, `${JSON.stringify(name)} has a backslash in its name, which archives can't carry safely`, {
      hint: 'Rename it.',
    })
  if (info.isDirectory()) return { type: 'content', content: null, target: `${name}/`, mode, mtime: info.mtime }
  if (info.isSymbolicLink()) return { type: 'file', source: path, target: name }
  if (info.isFile()) return { type: 'file', source: path, target: name, mode }
  throw new Vm0Error(code, `${name} is a socket, pipe or device; expected files, folders and links`, {
    hint: 'Remove it, or choose another folder.',
  })
}
