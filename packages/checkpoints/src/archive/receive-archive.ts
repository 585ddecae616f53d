import { createHash } from 'node:crypto'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { Vm0Error, webStreamOf } from '@vm0/contract'
import { createTarDecoder, type ParsedTarEntry } from 'modern-tar'
import { blobName } from './oci.js'

export interface ReceivedFiles {
  /** Files of blobs whose digests were compared. */
  blobs: Map<string, { path: string; sizeBytes: number }>
  /** `oci-layout` and `index.json`. */
  texts: Map<string, string>
}

const maxTextBytes = 1024 ** 2
const maxBlobs = 1024
/** What `docker save` adds to a layout: it says nothing that the layout doesn't. */
const ofDocker = ['manifest.json', 'repositories']

/** Takes an OCI image layout in a tar into a folder: only the files that such a layout has, each blob compared with its name. */
export async function receiveFiles(
  content: AsyncIterable<Uint8Array>,
  folder: string,
  maxBytes: number,
): Promise<ReceivedFiles> {
  const received: ReceivedFiles = { blobs: new Map(), texts: new Map() }
  let bytes = 0
  let tooLarge: Vm0Error | undefined
  const counted = async function* () {
    for await (const chunk of content) {
      bytes += chunk.length
      if (bytes > maxBytes)
        throw (tooLarge = new Vm0Error('ARCHIVE_TOO_LARGE', `the file is larger than ${maxBytes} bytes`))
      yield chunk
    }
  }
  try {
    for await (const entry of webStreamOf(counted()).pipeThrough(createTarDecoder({ strict: true })))
      await receive(entry, folder, received)
  } catch (error) {
    if (error instanceof Vm0Error) throw error
    if (tooLarge) throw tooLarge
    const { message, code } = error as NodeJS.ErrnoException
    if (code === 'ENOSPC') throw new Vm0Error('HOST_DISK_FULL', 'there is no room for the file', { cause: error })
    throw new Vm0Error('ARCHIVE_CORRUPT', `the file is no whole tar: ${message}`, { cause: error })
  }
  return received
}

async function receive(entry: ParsedTarEntry, folder: string, { blobs, texts }: ReceivedFiles): Promise<void> {
  const { type = 'file', size } = entry.header
  const name = entry.header.name.replace(/^\.\//, '')
  if (type === 'directory' && ['', 'blobs/', 'blobs/sha256/'].includes(name)) return
  if (type === 'file' && ofDocker.includes(name)) {
    for await (const _ of entry.body as unknown as AsyncIterable<Uint8Array>);
    return
  }
  const hex = /^blobs\/sha256\/([0-9a-f]{64})$/.exec(name)?.[1]
  const isText = name === 'oci-layout' || name === 'index.json'
  if (type !== 'file' || (!hex && !isText))
    throw new Vm0Error(
      'ARCHIVE_INVALID',
      `the file holds ${JSON.stringify(entry.header.name.slice(0, 200))} (${type}); expected an OCI image layout: oci-layout, index.json and blobs/sha256/…`,
    )
  const body = entry.body as unknown as AsyncIterable<Uint8Array>
  if (!hex) {
    if (texts.has(name) || size > maxTextBytes)
      throw new Vm0Error('ARCHIVE_INVALID', `${name} is there twice, or too large`)
    const parts: Uint8Array[] = []
    for await (const bytes of body) parts.push(bytes)
    texts.set(name, Buffer.concat(parts).toString('utf8'))
    return
  }
  const digest = `sha256:${hex}`
  if (blobs.has(digest) || blobs.size >= maxBlobs)
    throw new Vm0Error('ARCHIVE_INVALID', `${blobName(digest)} is there twice, or one of more than ${maxBlobs}`)
  const path = join(folder, hex)
  const hash = createHash('sha256')
  let sizeBytes = 0
  const file = await open(path, 'wx', 0o600)
  try {
    for await (const bytes of body) {
      hash.update(bytes)
      sizeBytes += bytes.length
      await file.writeFile(bytes)
    }
  } finally {
    await file.close()
  }
  const found = `sha256:${hash.digest('hex')}`
  if (found !== digest)
    throw new Vm0Error('ARCHIVE_CORRUPT', `${blobName(digest)} has the digest ${found}: the file is damaged`)
  blobs.set(digest, { path, sizeBytes })
}
