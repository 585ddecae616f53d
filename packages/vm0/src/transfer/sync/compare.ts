import { setImmediate } from 'node:timers/promises'
import {
  bucketDigests,
  bucketOf,
  bucketsFor,
  decodeEntry,
  isDiffering,
  type FolderComparison,
  type FolderEntry,
  type FolderRules,
  type FolderSummary,
} from '@vm0/contract/client'
import { connectionLost, lineError, linesOf, type Http, type RequestBody } from '../../http.js'
import { entryPath } from '../entry-path.js'

export interface DigestedEntry extends FolderEntry {
  /** Of all that makes it another one. */
  digest: string
}

export interface ComparedFolder<T extends DigestedEntry> {
  summary: FolderSummary
  /** What the session has in the buckets that differ, by path. */
  remote: Map<string, FolderEntry>
  /** What is here in the same buckets. */
  local: T[]
  /** The rest of what is here; the session has the same. */
  alike: T[]
}

export interface CompareOptions {
  /** What the session leaves out of the comparison. */
  rules: readonly FolderRules[]
  /** And what its own ignore files exclude. */
  ownRules: boolean
}

interface Local<T> extends CompareOptions {
  entries: readonly T[]
  /** What is to be done while the session's side is at work. */
  keep?: () => Promise<void>
}

interface ErrorLine {
  type: 'error'
  code: string
  message: string
  hint: string
}
type Line = Parameters<typeof decodeEntry>[0] | FolderSummary | ErrorLine

/**
 * Asks what of a folder in the session differs from a local one. The session's side begins to look when the call comes,
 * while this side still looks through its own folder (`scan`).
 */
export async function compareFolders<T extends DigestedEntry>(
  http: Http,
  address: string,
  scan: Promise<Local<T>>,
  signal?: AbortSignal,
): Promise<ComparedFolder<T>> {
  scan.catch(() => undefined)
  const prepared = scan.then(prepare)
  prepared.catch(() => undefined)
  const answer = http.request(address, {
    method: 'POST',
    headers: { 'content-type': 'application/octet-stream' },
    body: () => ReadableStream.from(requestOf(prepared)) as unknown as RequestBody,
    signal,
    patient: true,
  })
  // Not before the request is out.
  const kept = prepared.then(async ({ keep }) => {
    await setImmediate()
    await keep?.()
  })
  kept.catch(() => undefined)
  // What is wrong with the local folder breaks the request, too: the first is what to tell.
  const response = await answer.catch(async (error: unknown) => {
    await prepared
    throw error
  })
  const { entries, buckets } = await prepared
  const [{ summary, remote }] = await Promise.all([readAnswer(response, signal), kept])
  const differing = Buffer.from(summary.differing, 'base64')
  const [local, alike]: [T[], T[]] = [[], []]
  for (const entry of entries) (isDiffering(differing, bucketOf(entry.path, buckets)) ? local : alike).push(entry)
  return { summary, remote, local, alike }
}

interface Prepared<T> extends Pick<Local<T>, 'entries' | 'keep'> {
  buckets: number
  head: string
  digests: Uint8Array
}

function prepare<T extends DigestedEntry>({ entries, keep, rules, ownRules }: Local<T>): Prepared<T> {
  const buckets = bucketsFor(entries.length)
  const comparison: FolderComparison = { v: 1, buckets, rules: [...rules], ownRules }
  const head = `${JSON.stringify(comparison)}\n`
  return { entries, buckets, head, digests: bucketDigests(entries, buckets), ...(keep ? { keep } : {}) }
}

async function* requestOf(prepared: Promise<Prepared<DigestedEntry>>): AsyncGenerator<Uint8Array> {
  yield Buffer.from('\n')
  const { head, digests } = await prepared
  yield Buffer.concat([Buffer.from(head), digests])
}

async function readAnswer(response: Response, signal: AbortSignal | undefined) {
  const summaries: FolderSummary[] = []
  const remote = new Map<string, FolderEntry>()
  for await (const line of linesOf<Line>(response, signal)) {
    if (Array.isArray(line)) {
      const entry = decodeEntry(line)
      // Names come out of the sandbox: none may lead out of the folder.
      if (entryPath(entry.path).join('/') === entry.path) remote.set(entry.path, entry)
    } else if ('type' in line) throw lineError(line)
    else summaries.push(line)
  }
  const [summary, end] = summaries
  if (!summary || !end) throw connectionLost(new Error('the list of differences has no end'), signal)
  return { summary, remote }
}
