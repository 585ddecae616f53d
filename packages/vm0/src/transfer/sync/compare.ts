import { setImmediate } from 'node:timers/promises'
import {
  bucketsFor,
  decodeEntry,
  isDiffering,
  type Buckets,
  type FolderComparison,
  type FolderEntry,
  type FolderRules,
  type FolderSummary,
} from '@vm0/contract/client'
import { connectionLost, lineError, linesOf, type Http, type RequestBody } from '../../http.js'
import { entryPath } from '../entry-path.js'
import type { Listing, ScannedEntry } from './listing.js'
import type { ScannedFolder } from './scan-folder.js'

export interface ComparedFolder {
  summary: FolderSummary
  /** What the session has in the buckets that differ, by path. */
  remote: Map<string, FolderEntry>
  /** What is here in the same buckets. */
  local: ScannedEntry[]
  /** The rest of what is here; the session has the same. */
  alike: AlikeEntries
}

/** Made when they are asked for: most who compare want only to know how large they are. */
export interface AlikeEntries extends Iterable<ScannedEntry> {
  bytes: number
}

export interface CompareOptions {
  /** What the session leaves out of the comparison. */
  rules: readonly FolderRules[]
  /** And what its own ignore files exclude. */
  ownRules: boolean
}

type Local = Pick<ScannedFolder, 'listing' | 'keep'> & CompareOptions

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
export async function compareFolders(
  http: Http,
  address: string,
  scan: Promise<Local>,
  signal?: AbortSignal,
): Promise<ComparedFolder> {
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
  const kept = prepared.then(async ({ keep, buckets }) => {
    await setImmediate()
    await keep(buckets)
  })
  kept.catch(() => undefined)
  // What is wrong with the local folder breaks the request, too: the first is what to tell.
  const response = await answer.catch(async (error: unknown) => {
    await prepared
    throw error
  })
  const { listing, buckets } = await prepared
  const [{ summary, remote }] = await Promise.all([readAnswer(response, signal), kept])
  return { summary, remote, ...divide(listing, buckets, Buffer.from(summary.differing, 'base64')) }
}

function divide(listing: Listing, { sizes }: Buckets, differing: Uint8Array): Pick<ComparedFolder, 'local' | 'alike'> {
  const isAlike = (index: number): boolean => !isDiffering(differing, listing.hash(index) % sizes.length)
  const local: ScannedEntry[] = []
  let bytes = 0
  for (let index = 0; index < listing.length; index++) {
    if (isAlike(index)) bytes += listing.sizeBytes(index)
    else local.push(listing.entry(index))
  }
  const alike = function* (): Generator<ScannedEntry> {
    for (let index = 0; index < listing.length; index++) if (isAlike(index)) yield listing.entry(index)
  }
  return { local, alike: { bytes, [Symbol.iterator]: alike } }
}

interface Prepared extends Pick<Local, 'listing' | 'keep'> {
  buckets: Buckets
  head: string
}

function prepare({ listing, keep, rules, ownRules }: Local): Prepared {
  const buckets = bucketsFor(listing.length)
  const comparison: FolderComparison = { v: 1, buckets, rules: [...rules], ownRules }
  return { listing, keep, buckets: listing.buckets(buckets), head: `${JSON.stringify(comparison)}\n` }
}

async function* requestOf(prepared: Promise<Prepared>): AsyncGenerator<Uint8Array> {
  yield Buffer.from('\n')
  const { head, buckets } = await prepared
  yield Buffer.concat([Buffer.from(head), buckets.digests])
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
