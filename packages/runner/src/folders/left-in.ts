import { posix } from 'node:path'
import { ignoreFiles, IgnoreRules, type FolderRules } from '@vm0/contract'
import type { Sandbox } from '@vm0/sandbox'
import ignore from 'ignore'
import type { FoundEntry } from './found-entry.js'

const maxRuleBytes = 4 * 1024 ** 2

/** The entries that ignore rules leave in; what is below an excluded folder is excluded. */
export function leftIn(entries: readonly FoundEntry[], given: readonly FolderRules[]): FoundEntry[] {
  if (given.length === 0) return [...entries]
  const rules = new IgnoreRules((text) => ignore().add(text))
  for (const each of given) rules.add(each)
  const kept: FoundEntry[] = []
  let skipped: string | undefined
  for (const entry of entries) {
    if (skipped !== undefined && entry.path.startsWith(skipped)) continue
    const isFolder = entry.kind === 'folder'
    if (!rules.excludes(entry.path, isFolder)) kept.push(entry)
    else if (isFolder) skipped = `${entry.path}/`
  }
  return kept
}

/** What the ignore files of a folder in the sandbox say. */
export async function rulesIn(
  sandbox: Sandbox,
  folder: string,
  entries: readonly FoundEntry[],
): Promise<FolderRules[]> {
  const files = entries.filter(({ path, kind }) => kind === 'file' && isIgnoreFile(path)).map(({ path }) => path)
  if (files.length === 0) return []
  // Each line comes with the file's name in front of it.
  const args = ['xargs', '-0', 'grep', '-a', '-s', '-Z', '-H', '', '--']
  const stdin = Buffer.from(files.map((path) => `./${path}\0`).join(''))
  const output: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of sandbox.exec({ args, cwd: folder, stdin })) {
    if ('exitCode' in chunk || chunk.stream !== 'stdout') continue
    output.push(chunk.data)
    bytes += chunk.data.length
    if (bytes > maxRuleBytes) break
  }
  const texts = new Map<string, string>()
  for (const [, path = '', line = ''] of Buffer.concat(output)
    .toString('utf8')
    .matchAll(/\.\/([^\0]*)\0([^\n]*)\n?/g))
    texts.set(path, `${texts.get(path) ?? ''}${line}\n`)
  return [...texts]
    .toSorted(([a], [b]) => strength(a) - strength(b))
    .map(([path, text]) => ({ folder: folderOf(path), text }))
}

const isIgnoreFile = (path: string): boolean => (ignoreFiles as readonly string[]).includes(posix.basename(path))
const strength = (path: string): number => (ignoreFiles as readonly string[]).indexOf(posix.basename(path))
const folderOf = (path: string): string => (path.includes('/') ? posix.dirname(path) : '')
