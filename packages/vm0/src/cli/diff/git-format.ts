import type { DiffEntry, DiffSide } from '@vm0/contract/client'

const workspace = '/workspace/'
const typeBits = { file: 0o100000, symlink: 0o120000, directory: 0o040000, other: 0 }

/** As people know it: below /workspace without that, else whole. */
export function shownPath(path: string): string {
  return path.startsWith(workspace) ? path.slice(workspace.length) : path
}

/** A path as `git diff` writes it: quoted, as in C, when it has anything in it that isn't plain to see. */
export function quoted(path: string): string {
  const escaped = [...path].map(escape).join('')
  return escaped === path ? path : `"${escaped}"`
}

function escape(sign: string): string {
  if (sign === '"' || sign === '\\') return `\\${sign}`
  if (/[\p{L}\p{M}\p{N}\p{P}\p{S} ]/u.test(sign)) return sign
  return [...Buffer.from(sign)].map((byte) => `\\${byte.toString(8).padStart(3, '0')}`).join('')
}

/**
 * The head of one file in a patch that `git apply` and `patch -p1` take, a line each. Nothing for what git has no word
 * for: folders, devices, changes of owner, a link in a file's place.
 */
export function patchHead(entry: DiffEntry): string[] {
  const { before, after, patch, patchLeftOut } = entry
  if (![before, after].every((side) => !side || side.type === 'file' || side.type === 'symlink')) return []
  if (before && after && before.type !== after.type) return []
  const name = shownPath(entry.path).replace(/^\//, '')
  const [a, b] = [quoted(`a/${name}`), quoted(`b/${name}`)]
  const modes = modeLines(before, after)
  const lines = [`diff --git ${a} ${b}`, ...modes]
  if (patch) lines.push(`--- ${before ? a : '/dev/null'}`, `+++ ${after ? b : '/dev/null'}`)
  else if (patchLeftOut) lines.push(`Binary files ${before ? a : '/dev/null'} and ${after ? b : '/dev/null'} differ`)
  else if (modes.length === 0) return []
  return lines
}

function modeLines(before: DiffSide | null, after: DiffSide | null): string[] {
  if (!before) return after ? [`new file mode ${gitMode(after)}`] : []
  if (!after) return [`deleted file mode ${gitMode(before)}`]
  return gitMode(before) === gitMode(after) ? [] : [`old mode ${gitMode(before)}`, `new mode ${gitMode(after)}`]
}

/** Git knows two modes of files, and one of links. */
function gitMode({ type, mode }: DiffSide): string {
  const permissions = type === 'file' ? (mode & 0o100 ? 0o755 : 0o644) : 0
  return (typeBits[type] | permissions).toString(8)
}
