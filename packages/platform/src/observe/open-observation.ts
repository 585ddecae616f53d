import { otlpSettings } from '../otlp/settings.js'
import type { Observation, ObservationOptions } from './observation.js'

/**
 * What this process tells of itself and its runs. Where nothing is set nobody watches: then nothing is counted, and the libraries
 * for it, which take a good part of a start, are not loaded. Throws INVALID_REQUEST where the environment says something that
 * can't be done.
 */
export async function openObservation(options: ObservationOptions): Promise<Observation> {
  const settings = otlpSettings(options.env)
  if (!settings && !options.env.VM0_METRICS)
    return {
      eventLog: options.eventLog,
      webhookTried: () => undefined,
      exchanged: () => undefined,
      start: async () => [],
      close: async () => undefined,
    }
  const { observe } = await import('./observation.js')
  return observe(options, settings)
}
