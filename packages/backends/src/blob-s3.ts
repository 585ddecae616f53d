import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readFile, stat, writeFile } from 'node:fs/promises'
import { pipeline } from 'node:stream/promises'
import { setTimeout as wait } from 'node:timers/promises'
import type { GetObjectCommandOutput, S3Client } from '@aws-sdk/client-s3'
import { toVm0Error, Vm0Error } from '@vm0/contract'
import type { FileCache } from './file-cache.js'
import { sideBySide, waitedFor, type Part } from './parts.js'
import type { BlobPort } from './ports.js'

export interface BlobS3Options {
  bucket: string
  /** Before every name, such as `vm0/`. */
  prefix?: string
  /** Address of an S3-compatible server; without, Amazon's by region. */
  endpoint?: string
  region?: string
  /** Without, as the AWS tools find them (environment, profile, role of the machine). */
  credentials?: { accessKeyId: string; secretAccessKey: string }
  /** Where objects lie that somebody asked a local path of. */
  cache: FileCache
  /** Memory of one upload or download: so many parts of so many bytes. */
  partBytes?: number
  parallelParts?: number
  /** Tries of each request, with growing pauses between them: 10 last about a minute. */
  attempts?: number
  /** What is written is tried again for so long, over and over, while the store is away. */
  writePatienceMs?: number
  /** A connection on which nothing moves for so long is given up. */
  stalledMs?: number
}

const betweenWritesMs = 1_000
/** One connection that gives 50 MB/s costs less than several: also where it is this machine's own processors that are waited for. */
const fastBytesPerMs = 50_000

/** Objects in any S3-compatible store. Each is written whole or not at all: a broken multipart upload is aborted. */
export async function openBlobS3(options: BlobS3Options): Promise<BlobPort & { close(): void }> {
  const {
    bucket,
    prefix = '',
    cache,
    partBytes = 8 * 1024 ** 2,
    parallelParts = 4,
    attempts = 10,
    writePatienceMs = 0,
    stalledMs = 30_000,
  } = options
  // Only who has such a store pays for loading its client.
  const s3 = await import('@aws-sdk/client-s3')
  const { Upload } = await import('@aws-sdk/lib-storage')
  const client: S3Client = new s3.S3Client({
    region: options.region ?? 'us-east-1',
    maxAttempts: attempts,
    requestHandler: {
      connectionTimeout: 5_000,
      socketTimeout: stalledMs,
      requestTimeout: stalledMs * 4,
      throwOnRequestTimeout: true,
      httpsAgent: { maxSockets: 32 },
    },
    // Bodies go as they are: some servers store the chunks that a trailing checksum needs as content.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    ...(options.endpoint ? { endpoint: options.endpoint, forcePathStyle: true } : {}),
    ...(options.credentials ? { credentials: options.credentials } : {}),
  })
  const bucketName = `the bucket ${bucket}`
  const at = (name: string) => ({ Bucket: bucket, Key: prefix + name })

  /** Failures of the store under one code; the object's name goes with it. */
  async function reach<T>(name: string, request: () => Promise<T>): Promise<T> {
    try {
      return await request()
    } catch (cause) {
      if (name !== bucketName && isMissing(cause)) throw cause
      const { message } = toVm0Error(cause)
      throw new Vm0Error('STORE_UNREACHABLE', `the object store did not serve ${name}: ${message}`, { cause })
    }
  }

  /** The same for a write that may be done again from its start; each try has its `attempts`. */
  async function write(name: string, request: () => Promise<unknown>): Promise<void> {
    const until = performance.now() + writePatienceMs
    for (;;) {
      try {
        await reach(name, request)
        return
      } catch (error) {
        if (performance.now() >= until || !mayPass((error as Error).cause)) throw error
        await wait(betweenWritesMs)
      }
    }
  }

  /** `range`: from a byte up to another one, of the object with this tag. */
  const fetchObject = (name: string, range?: Part, abortSignal?: AbortSignal): Promise<GetObjectCommandOutput> => {
    const ranged = range ? { Range: `bytes=${range.from}-${range.to - 1}`, IfMatch: range.etag } : {}
    return reach(name, () =>
      client.send(new s3.GetObjectCommand({ ...at(name), ...ranged }), abortSignal ? { abortSignal } : {}),
    )
  }

  /** A part of an object; where the connection breaks, the rest of it is asked for again. */
  async function* part(
    name: string,
    { from, to, etag }: Part,
    begun?: GetObjectCommandOutput,
    signal?: AbortSignal,
  ): AsyncGenerator<Uint8Array> {
    let done = from
    let response = begun
    for (let attempt = 1; ; attempt++) {
      response ??= await fetchObject(name, { from: done, to, etag }, signal)
      try {
        for await (const chunk of response.Body as AsyncIterable<Uint8Array>) {
          done += chunk.length
          yield chunk
        }
        if (done >= to) return
        throw new Error(`the answer ended after ${done - from} of ${to - from} bytes`)
      } catch (error) {
        if (attempt >= attempts) await reach(name, () => Promise.reject(error as Error))
        response = undefined
      }
    }
  }

  /** The whole of an object that has begun to come: as far as that goes fast by one connection, the rest by several. */
  async function* content(name: string, first: GetObjectCommandOutput): AsyncGenerator<Uint8Array> {
    const whole = { from: 0, to: first.ContentLength ?? 0, etag: first.ETag }
    const pace = { bytes: 0, waitedMs: 0 }
    let done = 0
    for await (const chunk of waitedFor(part(name, whole, first), pace)) {
      done += chunk.length
      yield chunk
      if (pace.bytes < partBytes) continue
      if (pace.bytes < pace.waitedMs * fastBytesPerMs && whole.to - done > partBytes && parallelParts > 1) break
      pace.bytes = pace.waitedMs = 0
    }
    const side = (each: Part, signal: AbortSignal) => part(name, each, undefined, signal)
    yield* sideBySide({ ...whole, from: done }, { partBytes, parallelParts }, side)
  }

  const blobs: BlobPort = {
    async put(name, body) {
      await write(name, () => client.send(new s3.PutObjectCommand({ ...at(name), Body: body })))
    },

    async putFile(name, path) {
      const { size } = await stat(path)
      if (size <= partBytes) return blobs.put(name, await readFile(path))
      await write(name, async () => {
        const body = createReadStream(path, { highWaterMark: 1024 ** 2 })
        try {
          const params = { ...at(name), Body: body }
          await new Upload({ client, params, partSize: partBytes, queueSize: parallelParts }).done()
        } finally {
          body.destroy()
        }
      })
    },

    replace: (name, path) => blobs.putFile(name, path),

    async get(name) {
      const parts: Uint8Array[] = []
      for await (const part of await blobs.read(name)) parts.push(part)
      return Buffer.concat(parts)
    },

    async read(name) {
      return content(name, await fetchObject(name))
    },

    async has(name) {
      try {
        await reach(name, () => client.send(new s3.HeadObjectCommand(at(name))))
        return true
      } catch (error) {
        if (isMissing(error)) return false
        throw error
      }
    },

    async localPath(name) {
      if (!(await blobs.has(name))) return undefined
      const cached = createHash('sha256').update(name).digest('hex')
      return cache.fill(cached, async (path) => {
        await pipeline(await blobs.read(name), (source) => writeFile(path, source, { mode: 0o600 }))
      })
    },

    async remove(name) {
      await reach(name, () => client.send(new s3.DeleteObjectCommand(at(name))))
    },

    async renew(name) {
      const { Bucket, Key } = at(name)
      const CopySource = `${Bucket}/${Key.split('/').map(encodeURIComponent).join('/')}`
      try {
        // Copied onto itself: the store asks for something to be replaced by that.
        const copy = new s3.CopyObjectCommand({ Bucket, Key, CopySource, MetadataDirective: 'REPLACE' })
        await reach(name, () => client.send(copy))
        return true
      } catch (error) {
        if (isMissing(error)) return false
        throw error
      }
    },

    async removeOld(name, writtenBeforeMs) {
      try {
        const { LastModified } = await reach(name, () => client.send(new s3.HeadObjectCommand(at(name))))
        if (!LastModified || LastModified.getTime() >= writtenBeforeMs) return false
      } catch (error) {
        if (isMissing(error)) return false
        throw error
      }
      await blobs.remove(name)
      return true
    },

    async *list(folder) {
      let token: string | undefined
      do {
        const request = { Bucket: bucket, Prefix: prefix + folder, ContinuationToken: token }
        const page = await reach(folder, () => client.send(new s3.ListObjectsV2Command(request)))
        for (const { Key = '', Size = 0, LastModified } of page.Contents ?? [])
          yield { name: Key.slice(prefix.length), sizeBytes: Size, writtenMs: LastModified?.getTime() ?? 0 }
        token = page.NextContinuationToken
      } while (token)
    },
  }
  await reach(bucketName, () => client.send(new s3.HeadBucketCommand({ Bucket: bucket }))).catch((error: unknown) => {
    client.destroy()
    throw error
  })
  return { ...blobs, close: () => client.destroy() }
}

/** A store that refuses the request will go on doing so. */
function mayPass(error: unknown): boolean {
  const status = (error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode
  return status === undefined || status >= 500 || status === 429
}

function isMissing(error: unknown): boolean {
  const { name } = error as { name?: string }
  return name === 'NotFound' || name === 'NoSuchKey'
}
