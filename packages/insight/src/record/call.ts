import { createHash } from 'node:crypto'
import { canonicalJson, type EventOf } from '@vm0/contract'
import { missingIn, type Missing } from './missing.js'
import { normalised } from './normalised.js'

const tailChars = 1_500
/** What is looked through for a hint: errors stand at the ends. */
const scannedChars = 16_384

/** A tool call: what of its input and its result is needed to compare it with others. */
export class Call {
  finishedCursor: string | undefined
  endMs: number | undefined
  ok: boolean | undefined
  exitCode: number | undefined
  outputChars = 0
  truncated = false
  /** The same for outputs that differ only by times, addresses and temporary names. */
  outputDigest = ''
  tail = ''
  missing: Missing[] = []

  constructor(
    readonly id: string,
    readonly name: string,
    readonly kind: EventOf<'tool.started'>['kind'],
    readonly title: string,
    readonly parentToolId: string | undefined,
    readonly startedCursor: string,
    readonly startMs: number,
    /** Of a shell call. */
    readonly command: string | undefined,
    /** Of a call that reads or changes a file. */
    readonly path: string | undefined,
    readonly inputDigest: string,
    /** What an edit put in the place of what. */
    readonly change: { from: string; to: string } | undefined,
  ) {}

  finish(event: EventOf<'tool.finished'>, { cursor, atMs }: { cursor: string; atMs: number }): void {
    const { ok, exitCode, output, outputTruncated } = event
    const ends = output.length > 2 * scannedChars ? output.slice(0, scannedChars) + output.slice(-scannedChars) : output
    this.finishedCursor = cursor
    this.endMs = Math.max(atMs, this.startMs)
    this.ok = ok
    this.exitCode = exitCode
    this.outputChars = output.length
    this.truncated = outputTruncated
    this.outputDigest = digest(
      `${ok} ${exitCode ?? ''} ${normalised(ends)} ${output.length > ends.length ? output.length : ''}`,
    )
    this.tail = output.slice(-tailChars)
    if (this.kind === 'shell') this.missing = missingIn(ends, ok)
  }

  get durationMs(): number {
    return (this.endMs ?? this.startMs) - this.startMs
  }

  get cursor(): string {
    return this.finishedCursor ?? this.startedCursor
  }

  /** It waits for something that happens elsewhere: that it is called again and again is its purpose. */
  get polls(): boolean {
    return this.command !== undefined && /\b(sleep|wait|watch|poll|until|tail\s+-\w*f)\b|--watch\b/.test(this.command)
  }
}

export function callOf(event: EventOf<'tool.started'>, { cursor, atMs }: { cursor: string; atMs: number }): Call {
  const input = (typeof event.input === 'object' && event.input !== null ? event.input : {}) as Record<string, unknown>
  const text = (name: string): string | undefined => (typeof input[name] === 'string' ? input[name] : undefined)
  const from = text('old_string')
  const to = text('new_string')
  return new Call(
    event.toolId,
    event.name,
    event.kind,
    event.title.slice(0, 300),
    event.parentToolId,
    cursor,
    atMs,
    event.kind === 'shell' ? (text('command') ?? event.title).slice(0, 2_000) : undefined,
    text('file_path') ?? text('notebook_path'),
    inputDigest(event, input),
    from !== undefined && to !== undefined ? { from: digest(from), to: digest(to) } : undefined,
  )
}

/** A command's own description says nothing of what it does. */
function inputDigest({ name, kind, input, toolId }: EventOf<'tool.started'>, fields: Record<string, unknown>): string {
  if (kind === 'shell' && typeof fields.command === 'string') return digest(`${name} ${normalised(fields.command)}`)
  try {
    return digest(`${name} ${canonicalJson(input ?? null)}`)
  } catch {
    // Nested deeper than can be walked: like no other call.
    return digest(`${name} ${toolId}`)
  }
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('base64url').slice(0, 22)
}
