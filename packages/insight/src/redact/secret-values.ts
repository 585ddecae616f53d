import type { CreateRunParsed } from '@vm0/contract'

/** Whatever a run was given that may be secret: every value of an environment, and of a header. */
export function secretValues({ env, mcpServers }: Partial<CreateRunParsed>): string[] {
  const ofServers = Object.values(mcpServers ?? {}).map((server) => {
    if ('url' in server) return server.headers
    return server.env
  })
  return [env, ...ofServers].flatMap((values) => Object.values(values ?? {}))
}
