import type { Stats } from 'node:fs'
import { lstat, readFile, readdir } from 'node:fs/promises'
import { join, relative, sep } from 'node:path'
import { Vm0Error, type ErrorCode } from '@vm0/contract/client'
import ignore, { type Ignore } from 'ignore'
import type { TarSource } from 'modern-tar/fs'

export interface LocalEntry {
  /** Absolute. */
  path: string
  /** Below the root, with slashes. */
  name: string
  info: Stats
}

interface Rules {
  base: string
  rules: Ignore
}

/** What is in a local folder, folders before what they hold; with `gitignore` without what its .gitignore files exclude. */
export function walkFolder(root: string, { gitignore }: { gitignore: boolean }): AsyncGenerator<LocalEntry> {
  return walk(root, root, gitignore ? [] : undefined)
}

async function* walk(root: string, folder: string, outer: Rules[] | undefined): AsyncGenerator<LocalEntry> {
  const all = outer && [...outer, ...(await rulesOf(folder))]
  for (const child of (await readdir(folder)).toSorted()) {
    const path = join(folder, child)
    const info = await lstat(path)
    if (all && excluded(path, info.isDirectory(), all)) continue
    yield { path, name: relative(root, path).split(sep).join('/'), info }
    if (info.isDirectory()) yield* walk(root, path, all)
  }
}

async function rulesOf(folder: string): Promise<Rules[]> {
  const text = await readFile(join(folder, '.gitignore'), 'utf8').catch(() => '')
  return text ? [{ base: folder, rules: ignore().add(text) }] : []
}

function excluded(path: string, isFolder: boolean, all: Rules[]): boolean {
  let result = false
  for (const { base, rules } of all) {
    const verdict = rules.test(`${relative(base, path).split(sep).join('/')}${isFolder ? '/' : ''}`)
    if (verdict.ignored) result = true
    if (verdict.unignored) result = false
  }
  return result
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
