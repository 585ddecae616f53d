import { readFile } from 'node:fs/promises'
import { configPath, resolveEndpoint } from '../../config.js'

/** What a client finds of its server; asks it once, without tries. */
export interface ClientFacts {
  nodeVersion: string
  platformInstalled: boolean
  url: string
  /** Who named the address. */
  urlFrom: 'VM0_API_URL' | 'config' | 'default'
  configFile: string
  hasKey: boolean
  /** HTTP status of /healthz, or why there is none. */
  health: number | string
  /** HTTP status of a request with the key; undefined when none was sent. */
  withKey: number | string | undefined
}

const answerMs = 3_000

export async function gatherClientFacts(platformInstalled: boolean): Promise<ClientFacts> {
  const { url, apiKey } = resolveEndpoint({})
  const configFile = configPath()
  const hasConfig = await readFile(configFile).then(
    () => true,
    () => false,
  )
  const health = await statusOf(`${url}/healthz`)
  return {
    nodeVersion: process.versions.node,
    platformInstalled,
    url,
    urlFrom: process.env.VM0_API_URL ? 'VM0_API_URL' : hasConfig ? 'config' : 'default',
    configFile,
    hasKey: Boolean(apiKey),
    health,
    withKey: apiKey && health === 200 ? await statusOf(`${url}/v1/runs?limit=1`, apiKey) : undefined,
  }
}

async function statusOf(url: string, apiKey?: string): Promise<number | string> {
  try {
    const response = await fetch(url, {
      headers: apiKey ? { authorization: `Bearer ${apiKey}` } : {},
      signal: AbortSignal.timeout(answerMs),
    })
    await response.arrayBuffer()
    return response.status
  } catch (thrown) {
    const { message, cause } = thrown as Error
    return cause instanceof Error ? cause.message : message
  }
}
