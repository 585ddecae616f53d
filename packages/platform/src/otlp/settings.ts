import { Vm0Error } from '@vm0/contract'

export const signals = ['traces', 'metrics', 'logs'] as const
export type Signal = (typeof signals)[number]
export type OtlpProtocol = 'http/protobuf' | 'http/json'

export interface OtlpSettings {
  /** The signals that are exported, each in its form. */
  protocols: Partial<Record<Signal, OtlpProtocol>>
  metricIntervalMs: number
  /** Of the resource that everything belongs to. */
  attributes: Record<string, string>
}

/**
 * What the standard variables of OpenTelemetry say; undefined where none names a collector. Addresses, headers, time-outs and
 * compression are read by the exporters themselves. Throws INVALID_REQUEST.
 */
export function otlpSettings(env: NodeJS.ProcessEnv): OtlpSettings | undefined {
  if (env.OTEL_SDK_DISABLED?.toLowerCase() === 'true') return undefined
  const protocols: OtlpSettings['protocols'] = {}
  for (const signal of signals) {
    const name = signal.toUpperCase()
    const set = (own: string, shared: string): string => (env[own] ? own : shared)
    const endpointName = set(`OTEL_EXPORTER_OTLP_${name}_ENDPOINT`, 'OTEL_EXPORTER_OTLP_ENDPOINT')
    const endpoint = env[endpointName]
    if (!endpoint || env[`OTEL_${name}_EXPORTER`] === 'none') continue
    if (!URL.canParse(endpoint) || !/^https?:$/.test(new URL(endpoint).protocol))
      throw wrong(endpointName, endpoint, 'the address of a collector, such as http://127.0.0.1:4318')
    const protocolName = set(`OTEL_EXPORTER_OTLP_${name}_PROTOCOL`, 'OTEL_EXPORTER_OTLP_PROTOCOL')
    const protocol = env[protocolName] || 'http/protobuf'
    if (protocol !== 'http/protobuf' && protocol !== 'http/json')
      throw wrong(protocolName, protocol, 'http/protobuf (the default) or http/json')
    protocols[signal] = protocol
  }
  if (Object.keys(protocols).length === 0) return undefined
  const interval = env.OTEL_METRIC_EXPORT_INTERVAL || '60000'
  const metricIntervalMs = Number(interval)
  if (!(metricIntervalMs >= 100 && metricIntervalMs <= 86_400_000))
    throw wrong('OTEL_METRIC_EXPORT_INTERVAL', interval, 'milliseconds, from 100 on')
  return { protocols, metricIntervalMs, attributes: resourceAttributes(env) }
}

/** `OTEL_RESOURCE_ATTRIBUTES` is `name=value,…`, percent-encoded; what is none of that is left out. */
function resourceAttributes(env: NodeJS.ProcessEnv): Record<string, string> {
  const attributes: Record<string, string> = { 'service.name': 'vm0' }
  for (const pair of (env.OTEL_RESOURCE_ATTRIBUTES ?? '').split(',')) {
    const at = pair.indexOf('=')
    if (at > 0) attributes[pair.slice(0, at).trim()] = decoded(pair.slice(at + 1).trim())
  }
  if (env.OTEL_SERVICE_NAME) attributes['service.name'] = env.OTEL_SERVICE_NAME
  return attributes
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

function wrong(name: string, value: string, expected: string): Vm0Error {
  return new Vm0Error('INVALID_REQUEST', `${name} is ${JSON.stringify(value)}; expected ${expected}`, {
    hint: `Correct or unset ${name} in the environment of \`vm0 up\`.`,
  })
}
