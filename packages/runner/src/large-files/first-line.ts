import { Vm0Error } from '@vm0/contract'

/** A request's first line, and the bytes behind it. */
export async function firstLine(
  request: AsyncIterable<Uint8Array>,
  maxBytes: number,
): Promise<{ line: string; rest: AsyncGenerator<Uint8Array> }> {
  const source = request[Symbol.asyncIterator]()
  const parts: Uint8Array[] = []
  let bytes = 0
  for (;;) {
    const { done, value } = await source.next()
    if (done) return { line: Buffer.concat(parts).toString('utf8'), rest: following(new Uint8Array(), source) }
    const end = value.indexOf(10)
    parts.push(end < 0 ? value : value.subarray(0, end))
    bytes += parts.at(-1)!.length
    if (bytes > maxBytes) {
      await source.return?.()
      throw new Vm0Error('REQUEST_TOO_LARGE', `the first line of the request is larger than ${maxBytes} bytes`)
    }
    if (end >= 0)
      return { line: Buffer.concat(parts).toString('utf8'), rest: following(value.subarray(end + 1), source) }
  }
}

async function* following(first: Uint8Array, source: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    if (first.length > 0) yield first
    for (let next = await source.next(); !next.done; next = await source.next()) yield next.value
  } finally {
    await source.return?.()
  }
}

interface Schema<T> {
  safeParse(value: unknown): {
    data?: T | undefined
    error?: { issues: { path: PropertyKey[]; message: string }[] } | undefined
  }
}

export function parseLine<T>(line: string, schema: Schema<T>, what: string): T {
  let words = 'it is not JSON'
  try {
    const { data, error } = schema.safeParse(JSON.parse(line))
    if (data !== undefined) return data
    const [issue] = error?.issues ?? []
    words = issue ? `${issue.path.join('.')}: ${issue.message}` : ''
  } catch {
    // told below
  }
  throw new Vm0Error('INVALID_REQUEST', `the request for ${what} is not what it should be: ${words}`)
}
