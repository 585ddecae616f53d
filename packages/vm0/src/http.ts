import { errorTable, isErrorCode, Vm0Error, type ProblemDocument } from '@vm0/contract/client'
import { resolveEndpoint, type ClientOptions } from './config.js'

export type RequestBody = NonNullable<RequestInit['body']>

/**
 * With `redirect` and `window` so, Node's fetch sends a stream as it is; otherwise it keeps a copy of all of it in memory
 * for a redirect that a stream can't follow anyway.
 */
const streaming = { duplex: 'half', redirect: 'error', window: null } as const

export interface RequestOptions {
  method?: string
  /** Sent as JSON. */
  json?: unknown
  /** Sent as it is; made anew for each try. */
  body?: () => RequestBody
  headers?: Record<string, string>
  signal?: AbortSignal | undefined
  /** False where doing it twice would do harm. Default true. */
  retry?: boolean
  /** The answer's head comes only after work that may take any time: no limit for it. */
  patient?: boolean
}

/** Requests to one server: key, retries with growing pauses, problem documents as Vm0Error. */
export class Http {
  constructor(private readonly options: ClientOptions) {}

  /** The answer's JSON; undefined where there is none. */
  async json<T>(path: string, options: RequestOptions = {}): Promise<T> {
    const text = new TextDecoder().decode(await this.bytes(path, options))
    if (!text) return undefined as T
    try {
      return JSON.parse(text) as T
    } catch (cause) {
      throw new Vm0Error('INTERNAL', `the server's answer is not JSON: ${text.slice(0, 200)}`, {
        cause,
        retryable: false,
        hint: 'Check that VM0_API_URL names a VM0 server.',
      })
    }
  }

  /** The whole answer; one that breaks off counts as a failed try. */
  bytes(path: string, options: RequestOptions = {}): Promise<Uint8Array> {
    return this.retrying(options, async () => {
      const response = await this.once(path, options)
      try {
        return new Uint8Array(await response.arrayBuffer())
      } catch (cause) {
        throw connectionLost(cause, options.signal)
      }
    })
  }

  /** The answer with its body still to be read. */
  request(path: string, options: RequestOptions = {}): Promise<Response> {
    return this.retrying(options, () => this.once(path, options))
  }

  private async retrying<T>({ retry, signal }: RequestOptions, work: () => Promise<T>): Promise<T> {
    const tries = retry === false ? 1 : (this.options.retries ?? 4) + 1
    for (let attempt = 1; ; attempt++) {
      try {
        return await work()
      } catch (thrown) {
        const error = thrown as Vm0Error
        if (attempt >= tries || signal?.aborted || !mayPass(error)) throw error
        await pause(
          Number(error.details.retryAfterMs ?? Math.min(4000, 100 * 2 ** attempt) * (0.5 + Math.random() / 2)),
          signal,
        )
      }
    }
  }

  private async once(
    path: string,
    { method = 'GET', json, body, headers = {}, signal, patient }: RequestOptions,
  ): Promise<Response> {
    const { url, apiKey } = resolveEndpoint(this.options)
    const head = new AbortController()
    const timer = patient
      ? undefined
      : setTimeout(() => head.abort(new Error('no answer in time')), this.options.timeoutMs ?? 60_000)
    let response: Response
    try {
      response = await (this.options.fetch ?? fetch)(`${url}/v1${path}`, {
        method,
        headers: {
          ...(apiKey ? { authorization: `Bearer ${apiKey}` } : {}),
          ...(json === undefined ? {} : { 'content-type': 'application/json' }),
          ...headers,
        },
        ...(json !== undefined ? { body: JSON.stringify(json) } : body ? { body: body(), ...streaming } : {}),
        signal: signal ? AbortSignal.any([signal, head.signal]) : head.signal,
      } as RequestInit)
    } catch (cause) {
      if (signal?.aborted) throw aborted(cause)
      throw new Vm0Error('SERVER_UNREACHABLE', `the VM0 server at ${url} could not be reached: ${reason(cause)}`, {
        cause,
      })
    } finally {
      clearTimeout(timer)
    }
    if (response.ok) return response
    throw await problem(response)
  }
}

/** The bytes of an answer; a connection that breaks is told as a Vm0Error. */
export async function* bytesOf(response: Response, signal?: AbortSignal): AsyncGenerator<Uint8Array, void> {
  if (!response.body) return
  const reader = response.body.getReader()
  const read = (): ReturnType<typeof reader.read> =>
    reader.read().catch((cause: unknown) => {
      throw connectionLost(cause, signal)
    })
  try {
    for (let next = await read(); !next.done; next = await read()) yield next.value
  } finally {
    await reader.cancel().catch(() => undefined)
  }
}

/** The objects of an NDJSON answer; empty lines only keep the connection open. */
export async function* linesOf<T>(response: Response, signal?: AbortSignal): AsyncGenerator<T, void> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const bytes of bytesOf(response, signal)) {
    const parts = (rest + decoder.decode(bytes, { stream: true })).split('\n')
    rest = parts.pop() ?? ''
    for (const line of parts) if (line) yield JSON.parse(line) as T
  }
}

/** An error that came as a line of an answer. */
export function lineError({ code, message, hint }: { code: string; message: string; hint: string }): Vm0Error {
  return new Vm0Error(isErrorCode(code) ? code : 'INTERNAL', message, { hint })
}

export function connectionLost(cause: unknown, signal?: AbortSignal): Vm0Error {
  if (signal?.aborted) return aborted(cause)
  return new Vm0Error('SERVER_UNREACHABLE', `the connection broke in the middle of the answer: ${reason(cause)}`, {
    cause,
  })
}

function aborted(cause: unknown): Vm0Error {
  return new Vm0Error('CANCELLED', 'the request was aborted by its signal', { cause })
}

async function problem(response: Response): Promise<Vm0Error> {
  const text = await response.text().catch(() => '')
  const retryAfter = Number(response.headers.get('retry-after'))
  const extra = retryAfter > 0 ? { retryAfterMs: retryAfter * 1000 } : {}
  try {
    const document = JSON.parse(text) as ProblemDocument
    if (isErrorCode(document.code)) {
      return new Vm0Error(document.code, document.detail, {
        hint: document.hint,
        retryable: document.retryable,
        status: document.status,
        details: { ...document.details, ...extra },
        ...(document.requestId ? { requestId: document.requestId } : {}),
      })
    }
  } catch {
    /* not ours: a proxy's page, say */
  }
  return new Vm0Error(
    response.status === 401 ? 'UNAUTHENTICATED' : 'INTERNAL',
    `the server answered with status ${response.status}: ${text.slice(0, 200)}`,
    { status: response.status, retryable: response.status >= 500, details: extra },
  )
}

/** Whether the same request may succeed in a moment. */
export function mayPass({ code, retryable }: Vm0Error): boolean {
  return retryable && code !== 'SESSION_BUSY' && errorTable[code].exit !== 6
}

function reason(cause: unknown): string {
  const { message, cause: inner } = cause as Error
  return inner instanceof Error ? inner.message || String((inner as NodeJS.ErrnoException).code) : message
}

export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal?.addEventListener('abort', done, { once: true })
  })
}
