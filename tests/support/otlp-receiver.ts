import { createServer, type IncomingMessage } from 'node:http'
import { createRequire } from 'node:module'
import { gunzipSync } from 'node:zlib'
import { listenLocally, Waiting } from './local-server.js'

/** Of the official definitions, as protobufjs has made them. */
interface Message {
  decode(bytes: Uint8Array): object
  encode(message: object): { finish(): Uint8Array }
  toObject(message: object, options: object): Record<string, unknown>
  fromObject(object: object): object
  verify(message: object): string | null
}

const definitions = {
  '/v1/traces': ['trace', 'ExportTraceServiceRequest'],
  '/v1/metrics': ['metrics', 'ExportMetricsServiceRequest'],
  '/v1/logs': ['logs', 'ExportLogsServiceRequest'],
} as const

export interface OtlpRequest {
  path: keyof typeof definitions
  contentType: string
  headers: Record<string, string>
  /** The request as the definitions have it; ids in hexadecimal digits, numbers of 64 bits as text. */
  body: Record<string, unknown>
}

export interface OtlpReceiver {
  url: string
  requests: OtlpRequest[]
  /** What was not as the definitions have it; expect it to be empty. */
  problems: string[]
  /** What is answered from now on: taken, an error status, or nothing at all. */
  answer: 'take' | 'hang' | number
  /** Resolves when a request has come for which `fits` holds. */
  until(fits: (request: OtlpRequest) => boolean): Promise<OtlpRequest>
  close(): Promise<void>
}

/** A server of OTLP/HTTP that decodes what comes by the official definitions, in protobuf and in JSON. */
export async function startOtlpReceiver(): Promise<OtlpReceiver> {
  const waiting = new Waiting()
  const receiver: Pick<OtlpReceiver, 'requests' | 'problems' | 'answer'> = {
    requests: [],
    problems: [],
    answer: 'take',
  }
  const server = createServer((request, response) => {
    void (async () => {
      const body = await bytesOf(request)
      if (receiver.answer === 'hang') return
      if (receiver.answer !== 'take') return void response.writeHead(receiver.answer).end()
      try {
        receiver.requests.push(decode(request, body))
      } catch (error) {
        receiver.problems.push((error as Error).message)
        return void response.writeHead(400).end()
      }
      const isJson = request.headers['content-type']?.includes('json')
      response.writeHead(200, { 'content-type': request.headers['content-type'] ?? '' }).end(isJson ? '{}' : '')
      waiting.look()
    })()
  })
  return Object.assign(receiver, await listenLocally(server), {
    until: (fits: (request: OtlpRequest) => boolean) => waiting.for(() => receiver.requests.find(fits)),
  })
}

async function bytesOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  const bytes = Buffer.concat(chunks)
  return request.headers['content-encoding'] === 'gzip' ? gunzipSync(bytes) : bytes
}

function decode({ url, headers, method }: IncomingMessage, bytes: Buffer): OtlpRequest {
  const path = url as keyof typeof definitions
  const [signal, name] = definitions[path] ?? []
  if (!signal || !name || method !== 'POST') throw new Error(`${method} ${url} is no OTLP request`)
  const type = loadDefinitions()[signal].v1[name] as Message
  const contentType = headers['content-type'] ?? ''
  if (contentType !== 'application/x-protobuf' && contentType !== 'application/json')
    throw new Error(`${contentType} is no form of OTLP/HTTP`)
  const isJson = contentType === 'application/json'
  const message = isJson ? type.fromObject(withBytes(JSON.parse(bytes.toString('utf8')))) : type.decode(bytes)
  const problem = type.verify(message)
  if (problem) throw new Error(`${url}: ${problem}`)
  const body = withHexIds(type.toObject(message, { longs: String, bytes: Buffer })) as Record<string, unknown>
  return { path, contentType, headers: headers as Record<string, string>, body }
}

const idFields = new Set(['traceId', 'spanId', 'parentSpanId'])

/** OTLP/JSON writes ids in hexadecimal digits, other than protobuf's own JSON. */
function withBytes(value: unknown): object {
  return mapped(value, (name, each) =>
    idFields.has(name) && typeof each === 'string' ? Buffer.from(each, 'hex') : each,
  ) as object
}

function withHexIds(value: unknown): unknown {
  return mapped(value, (_name, each) => (Buffer.isBuffer(each) ? each.toString('hex') : each))
}

function mapped(value: unknown, map: (name: string, value: unknown) => unknown, name = ''): unknown {
  const own = map(name, value)
  if (own !== value || typeof value !== 'object' || value === null || Buffer.isBuffer(value)) return own
  if (Array.isArray(value)) return value.map((each) => mapped(each, map))
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, mapped(each, map, key)]))
}

type Definitions = Record<'trace' | 'metrics' | 'logs', { v1: Record<string, unknown> }>

/** An earlier release of the JavaScript SDK carries them as they are published. */
function loadDefinitions(): Definitions {
  const root = createRequire(import.meta.url)('otlp-definitions/build/src/generated/root') as {
    opentelemetry: { proto: { collector: Definitions } }
  }
  return root.opentelemetry.proto.collector
}
