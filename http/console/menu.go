package console

// section is an entry of the menu.
type section struct {
	Page string // its id in the table of routes, which says who sees it
	Path string
	Text string // key of its name
}

// sections lists the menu in its order.
func sections() []section {
	return []section{
		{"page_overview", "/console/overview", "menu_overview"},
		{"page_people", "/console/people", "menu_people"},
		{"page_requests", "/console/requests", "menu_requests"},
		{"page_holds", "/console/holds", "menu_holds"},
		{"page_consents", "/console/consents", "menu_consents"},
		{"page_purposes", "/console/purposes", "menu_purposes"},
		{"page_reads", "/console/reads", "menu_reads"},
		{"page_audit", "/console/audit", "menu_audit"},
		{"page_programs", "/console/programs", "menu_programs"},
		{"page_system", "/console/system", "menu_system"},
		{"page_me", "/me", "menu_me"},
		{"page_account", "/console/account", "menu_account"},
	}
}

// Menu returns the sections that the visitor may open.
func (v *Visit) Menu() (menu []section) {
	if v.Visitor.May == nil {
		return nil
	}
	for _, s := range sections() {
		if v.Visitor.May(s.Page) {
			menu = append(menu, s)
		}
	}
	return menu
}

// May reports whether the visitor may open a page or send a form, by its id in the table
// of routes.
func (v *Visit) May(page string) bool { return v.Visitor.May != nil && v.Visitor.May(page) }
