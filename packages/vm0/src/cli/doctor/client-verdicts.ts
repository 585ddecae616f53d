import { errorTable, type Check } from '@vm0/contract/client'
import type { ClientFacts } from './client-facts.js'

/** What the facts mean for somebody who calls VM0 from here. */
export function checkClient(facts: ClientFacts): Check[] {
  return [node(facts), platform(facts), server(facts), key(facts)]
}

function node({ nodeVersion }: ClientFacts): Check {
  const [major = 0, minor = 0] = nodeVersion.split('.').map(Number)
  const found = `Node.js ${nodeVersion}`
  if (major > 20 || (major === 20 && minor >= 19)) return { name: 'node', status: 'ok', found }
  return { name: 'node', status: 'problem', found, fix: 'Install Node.js 20.19 or newer.' }
}

function platform({ platformInstalled }: ClientFacts): Check {
  if (platformInstalled) return { name: 'platform', status: 'ok', found: '@vm0/platform is installed' }
  return {
    name: 'platform',
    status: 'warning',
    found: '@vm0/platform is not installed: this machine can call VM0, but not run it',
    fix: errorTable.PLATFORM_MISSING.hint,
  }
}

function server({ url, urlFrom, configFile, health, platformInstalled }: ClientFacts): Check {
  const from = { VM0_API_URL: 'VM0_API_URL', config: configFile, default: 'the default address' }[urlFrom]
  if (health === 200) return { name: 'server', status: 'ok', found: `${url} answers (from ${from})` }
  // Where the platform can be started it may simply not have been yet.
  const status = platformInstalled && urlFrom !== 'VM0_API_URL' ? 'warning' : 'problem'
  const found =
    typeof health === 'number'
      ? `${url} (from ${from}) answers with status ${health}, not as a VM0 server`
      : `${url} (from ${from}) can't be reached: ${health}`
  const fix =
    urlFrom === 'VM0_API_URL'
      ? 'Correct VM0_API_URL, or start the server that it names.'
      : platformInstalled
        ? 'Start it with `vm0 up`, or set VM0_API_URL.'
        : 'Set VM0_API_URL to a VM0 server.'
  return { name: 'server', status, found, fix }
}

function key({ hasKey, withKey, urlFrom }: ClientFacts): Check {
  const fix = 'Set VM0_API_KEY; `vm0 keys create NAME` makes one where a valid key is.'
  if (!hasKey)
    return {
      name: 'key',
      status: urlFrom === 'VM0_API_URL' ? 'problem' : 'warning',
      found: 'no API key is set',
      fix: urlFrom === 'VM0_API_URL' ? fix : '`vm0 up` writes one for this user; or set VM0_API_KEY.',
    }
  if (withKey === undefined) return { name: 'key', status: 'ok', found: 'an API key is set (not tried: no server)' }
  if (withKey === 200) return { name: 'key', status: 'ok', found: 'the server takes the API key' }
  return { name: 'key', status: 'problem', found: `the server does not take the API key (${withKey})`, fix }
}
