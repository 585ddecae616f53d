import { Vm0Error, type Check, type RebuildReport } from '@vm0/contract/client'

/** What the command uses of @vm0/platform. */
export interface Platform {
  up(options: {
    port?: number
    dataDir?: string
    freezeMs?: number
    idleMs?: number
    reclaimBelow?: number
    warm?: number
    warmMin?: number
  }): Promise<number>
  rebuild(options: { dataDir?: string; deep?: boolean; onProgress?: (message: string) => void }): Promise<RebuildReport>
  checkHost(options: { dataDir?: string }): Promise<Check[]>
}

/** The platform, when it is installed beside: it is no dependency, so that an application that only calls VM0 stays light. */
export async function findPlatform(): Promise<Platform | undefined> {
  const name: string = '@vm0/platform'
  try {
    return (await import(name)) as Platform
  } catch (thrown) {
    const { code, message } = thrown as NodeJS.ErrnoException
    if (code === 'ERR_MODULE_NOT_FOUND' && message.includes(name)) return undefined
    throw thrown
  }
}

export async function loadPlatform(): Promise<Platform> {
  const platform = await findPlatform()
  if (!platform)
    throw new Vm0Error(
      'PLATFORM_MISSING',
      'the package @vm0/platform, which holds the server and the runner, is not installed here',
    )
  return platform
}
