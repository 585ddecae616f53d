import { isUtf8 } from 'node:buffer'
import { structuredPatch } from 'diff'
import { fileTypes } from '../erofs/format.js'
import type { Node } from '../erofs/overlay.js'
import { typeOf } from './compare.js'
import type { Difference } from './walk.js'

/** Of larger files the text isn't compared, nor read. */
export const maxPatchedBytes = 1024 ** 2
/** How long two texts are compared before one is told as wholly replaced by the other. */
const patienceMs = 2_000
const context = 3

/** The hunks of a unified diff, or why there are none. */
export type Patch = { text: string } | { leftOut: 'binary' | 'large' | 'special' }

export function patchOf({ before, after }: Difference): Patch {
  const nodes = [before, after].filter((node) => node !== undefined)
  if (nodes.some((node) => typeOf(node) !== fileTypes.regular && typeOf(node) !== fileTypes.symlink))
    return { leftOut: 'special' }
  if (before && after && typeOf(before) !== typeOf(after)) return { leftOut: 'special' }
  if (nodes.some(({ inode }) => inode.size > maxPatchedBytes)) return { leftOut: 'large' }
  const was = contentOf(before)
  const is = contentOf(after)
  if (!isText(was) || !isText(is)) return { leftOut: 'binary' }
  const [from, to] = [was.toString('utf8'), is.toString('utf8')]
  const patch = structuredPatch('', '', from, to, '', '', { context, timeout: patienceMs })
  return { text: patch ? patch.hunks.map(hunkText).join('') : replacement(from, to) }
}

function contentOf(node: Node | undefined): Buffer {
  if (!node) return Buffer.alloc(0)
  const content = Buffer.alloc(node.inode.size)
  node.layer.read(node.inode, content, 0, content.length, 0)
  return content
}

const isText = (content: Buffer): boolean => !content.includes(0) && isUtf8(content)

interface Hunk {
  oldStart: number
  oldLines: number
  newStart: number
  newLines: number
  lines: string[]
}

function hunkText({ oldStart, oldLines, newStart, newLines, lines }: Hunk): string {
  // A side without lines is told by the line that it follows.
  const old = `${oldLines === 0 ? oldStart - 1 : oldStart},${oldLines}`
  const now = `${newLines === 0 ? newStart - 1 : newStart},${newLines}`
  return `@@ -${old} +${now} @@\n${lines.map((line) => `${line}\n`).join('')}`
}

/** All lines of one text for all lines of the other. */
function replacement(from: string, to: string): string {
  const [old, now] = [marked(from, '-'), marked(to, '+')]
  const lines = [...old.lines, ...now.lines]
  return hunkText({ oldStart: 1, oldLines: old.count, newStart: 1, newLines: now.count, lines })
}

function marked(text: string, sign: string): { lines: string[]; count: number } {
  if (text === '') return { lines: [], count: 0 }
  const parts = text.split('\n')
  const isEnded = parts.at(-1) === ''
  if (isEnded) parts.pop()
  const lines = parts.map((line) => sign + line)
  if (!isEnded) lines.push(String.raw`\ No newline at end of file`)
  return { lines, count: parts.length }
}
