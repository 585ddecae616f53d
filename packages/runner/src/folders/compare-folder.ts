import {
  bucketDigestBytes,
  differingBuckets,
  encodeEntry,
  folderComparisonSchema,
  isDiffering,
  Vm0Error,
  type FolderComparison,
  type FolderSummary,
} from '@vm0/contract'
import type { Sandbox } from '@vm0/sandbox'
import { checkPath } from '../files.js'
import type { FileDigests } from './file-digests.js'
import type { FoundEntry } from './found-entry.js'
import { leftIn, rulesIn } from './left-in.js'
import { listFolder, type FoundFolder } from './list-folder.js'
import { DigestReading } from './read-digests.js'

const maxRequestBytes = 8 * 1024 ** 2
const answerPieceLength = 64 * 1024

interface Place {
  sandbox: Sandbox
  folder: string
  digests: FileDigests
}

/**
 * The entries of a folder in the buckets that differ from those that the request has, as lines of JSON; the summary before
 * and after them. The folder is listed, and what changed in it read, while the request still comes.
 */
export async function* compareFolder(place: Place, request: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  checkPath(place.folder)
  const [found, { comparison, digests }] = await Promise.all([lookThrough(place), readRequest(request)])
  const entries = await entriesOf(place, found, comparison)
  const { buckets } = comparison
  const known = place.digests.folder(place.folder)
  const differing = differingBuckets(known.buckets(entries, buckets).digests, digests)
  const summary: FolderSummary = {
    exists: found.exists,
    entries: entries.length,
    unnamed: found.unnamed,
    differing: Buffer.from(differing).toString('base64'),
  }
  yield `${JSON.stringify(summary)}\n`
  // A turn of the stream for each line would cost more than the line.
  let lines = ''
  for (const entry of entries) {
    if (!isDiffering(differing, entry.hash % buckets)) continue
    lines += encodeEntry(entry)
    if (lines.length < answerPieceLength) continue
    yield lines
    lines = ''
  }
  yield `${lines}${JSON.stringify(summary)}\n`
}

/** The request's rules may leave out what is read here: so only where it is little. */
const maxReadEarly = { files: 10_000, bytes: 64 * 1024 ** 2 }

async function lookThrough({ sandbox, folder, digests }: Place): Promise<FoundFolder> {
  const reading = new DigestReading(sandbox, folder)
  let [files, bytes] = [0, 0]
  const onFound = (entry: FoundEntry): void => {
    if (entry.digest !== '' || ++files > maxReadEarly.files || (bytes += entry.sizeBytes) > maxReadEarly.bytes) return
    reading.add(entry)
  }
  const listing = listFolder(sandbox, folder, digests.folder(folder), onFound)
  // What was asked for is read also when the folder can't be listed whole.
  const [found, failed] = await Promise.all([listing, listing.catch(() => undefined).then(() => reading.end())])
  return failed.size > 0 ? { ...found, entries: found.entries.filter((entry) => !failed.has(entry)) } : found
}

async function entriesOf(
  place: Place,
  found: FoundFolder,
  comparison: FolderComparison,
): Promise<readonly FoundEntry[]> {
  const { sandbox, folder, digests } = place
  if (found.entries.length === 0) return []
  const own = comparison.ownRules ? await rulesIn(sandbox, folder, found.entries) : []
  return digests.of(sandbox, folder, leftIn(found.entries, [...comparison.rules, ...own]))
}

async function readRequest(request: AsyncIterable<Uint8Array>) {
  const parts: Uint8Array[] = []
  let bytes = 0
  for await (const part of request) {
    parts.push(part)
    bytes += part.length
    if (bytes > maxRequestBytes)
      throw new Vm0Error('REQUEST_TOO_LARGE', `the comparison is larger than ${maxRequestBytes} bytes`)
  }
  // An empty line may have come first, to have the folder looked through in the meantime.
  const whole = Buffer.concat(parts).subarray(parts[0]?.[0] === 10 ? 1 : 0)
  const end = whole.indexOf('\n')
  const comparison = parse(whole.toString('utf8', 0, Math.max(0, end)))
  const digests = whole.subarray(end + 1)
  if (digests.length !== comparison.buckets * bucketDigestBytes)
    throw new Vm0Error(
      'INVALID_REQUEST',
      `the comparison has ${digests.length} bytes of digests; expected ${comparison.buckets * bucketDigestBytes}`,
    )
  return { comparison, digests }
}

function parse(line: string): FolderComparison {
  try {
    return folderComparisonSchema.parse(JSON.parse(line))
  } catch (cause) {
    throw new Vm0Error('INVALID_REQUEST', 'the first line of the comparison is not what it should be', { cause })
  }
}
