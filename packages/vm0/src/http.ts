import { errorTable, isErrorCode, Vm0Error, type ProblemDocument } from '@vm0/contract/client'
import { resolveEndpoint, type ClientOptions } from './config.js'

export type RequestBody = NonNullable<RequestInit['body']>

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
}

/** Requests to one server: key, retries with growing pauses, problem documents as Vm0Error. */
export class Http {
  constructor(private readonly options: ClientOptions) {}

  async json<T>(path: string, options: RequestOptions = {}): Promise<T> {
    const response = await this.request(path, options)
    return (response.status === 204 ? undefined : await response.json()) as T
  }

  async request(path: string, options: RequestOptions = {}): Promise<Response> {
    const tries = options.retry === false ? 1 : (this.options.retries ?? 4) + 1
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.once(path, options)
      } catch (thrown) {
        const error = thrown as Vm0Error
        if (attempt >= tries || options.signal?.aborted || !passing(error)) throw error
        await pause(
          Number(error.details.retryAfterMs ?? Math.min(4000, 100 * 2 ** attempt) * (0.5 + Math.random() / 2)),
          options.signal,
        )
      }
    }
  }

  private async once(
    path: string,
    { method = 'GET', json, body, headers = {}, signal }: RequestOptions,
  ): Promise<Response> {
    const { url, apiKey } = resolveEndpoint(this.options)
    const head = new AbortController()
    const timer = setTimeout(() => head.abort(new Error('no answer in time')), this.options.timeoutMs ?? 60_000)
    let response: Response
    try {
      response = await (this.options.fetch ?? fetch)(`${url}/v1${path}`, {
        method,
        headers: {
          ...(apiKey ? { authorization: `Bearer ${apiKey}` } : {}),
          ...(json === undefined ? {} : { 'content-type': 'application/json' }),
          ...headers,
        },
        ...(json !== undefined ? { body: JSON.stringify(json) } : body ? { body: body(), duplex: 'half' } : {}),
        signal: signal ? AbortSignal.any([signal, head.signal]) : head.signal,
      } as RequestInit)
    } catch (cause) {
      if (signal?.aborted) throw new Vm0Error('CANCELLED', 'the request was aborted by its signal', { cause })
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

function passing({ code, retryable }: Vm0Error): boolean {
  return retryable && code !== 'SESSION_BUSY' && errorTable[code].exit !== 6
}

function reason(cause: unknown): string {
  const { message, cause: inner } = cause as Error
  return inner instanceof Error ? inner.message || String((inner as NodeJS.ErrnoException).code) : message
}

export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms)
    signal?.addEventListener(
      'abort',
      () => {
        clearTimeout(timer)
        resolve()
      },
      { once: true },
    )
  })
}
