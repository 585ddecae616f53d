import { access, constants } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { Vm0Error } from '@vm0/contract'

/** Fails with RUNTIME_MISSING for the first program that can't be started, and names its Debian package. */
export async function requirePrograms(packages: Readonly<Record<string, string>>): Promise<void> {
  const folders = (process.env.PATH ?? '').split(delimiter).filter(Boolean)
  for (const [program, packageName] of Object.entries(packages)) {
    const places = program.startsWith('/') ? [program] : folders.map((folder) => join(folder, program))
    const found = await Promise.any(places.map((place) => access(place, constants.X_OK))).then(
      () => true,
      () => false,
    )
    if (!found) {
      throw new Vm0Error(
        'RUNTIME_MISSING',
        `The program ${program} is not there${program.startsWith('/') ? '' : ' on PATH'}: expected it from the package ${packageName}.`,
        { details: { package: packageName } },
      )
    }
  }
}
