export interface Upstream {
  /** e.g. https://api.anthropic.com */
  baseUrl: string
  /** Sent as `x-api-key` in place of what the sandbox sends. */
  apiKey: string
}

export interface ModelTraffic {
  /** A model request has arrived whole head; `timeMs` since 1970 with fractions. Called before it is forwarded. */
  onRequest(request: { method: string; path: string; timeMs: number }): void
  /** First byte of the answer's body (`onFirstByte`) and its end. */
  onFirstByte(response: { path: string; status: number; timeMs: number }): void
  onEnd(response: { path: string; status: number; timeMs: number; durationMs: number }): void
}

/** A sandbox that no session has yet: its requests are answered here and go nowhere. */
export interface LocalAnswers {
  answer(request: { method: string; path: string; body: string }): { status: number; contentType: string; body: string }
}

export interface Gateway {
  readonly address: string
  readonly port: number
  /** Requests from `sourceAddress` belong to this sandbox from now on; others get 403. Returns the way to end it. */
  register(sourceAddress: string, traffic: ModelTraffic | LocalAnswers): () => void
  close(): Promise<void>
}

export interface GatewayOptions {
  host: string
  port: number
  upstream: Upstream
  maxRequestBytes?: number
  headersTimeoutMs?: number
}
