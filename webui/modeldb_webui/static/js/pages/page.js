// A page whose content comes from the server, such as one of a plugin: only the frame is drawn.

import * as api from "../api.js";
import { setPlace, startFrame } from "../frame.js";

startFrame();
setPlace([{ label: "Projects", href: api.BASE }, { label: document.body.dataset.title ?? "" }]);
