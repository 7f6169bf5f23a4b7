import { dataPlaneSuite } from '../conformance/data-plane.suite.ts'
import { namespaceBed } from './data-plane.bed.ts'

dataPlaneSuite('the Linux kernel', namespaceBed)
