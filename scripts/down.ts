import { stopMachineEngine } from './compose-bed/machine-engine.ts'
import { removeNodes } from './compose-bed/nodes.ts'

/** `make down`: every trace of `make up`, but for installed packages and .cache/ (and images in the machine's engine). */
try {
  await removeNodes()
  await stopMachineEngine((line) => console.log(line))
  console.log('The nodes of `make up` are gone')
} catch (error) {
  console.error(`make down failed: ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = 1
}
