package http

import (
	"slices"

	"github.com/salga-trust/engine/http/console"
)

// minePages are those about the visitor: their data, their account, and how to get one.
func minePages() []route { return slices.Concat(mePages(), accountPages(), doorPages()) }

// mePages are the data subject's own page.
func mePages() []route {
	return []route{
		{
			id: "page_me", method: "GET", path: "/me", who: self, rate: accountRate,
			page: (*console.Console).Me, asks: []string{"done"},
		},
		{
			id: "decide_mine", method: "POST", path: "/me/consents", who: self, rate: accountRate,
			page: (*console.Console).DecideMine,
		},
		{
			id: "page_withdraw_mine", method: "GET", path: "/me/consents/{id}/withdraw", who: self, rate: accountRate,
			page: (*console.Console).WithdrawMineForm,
		},
		{
			id: "withdraw_mine", method: "POST", path: "/me/consents/{id}/withdraw", who: self, rate: accountRate,
			page: (*console.Console).WithdrawMine,
		},

		{
			id: "page_me_reads", method: "GET", path: "/me/reads", who: self, rate: accountRate,
			page: (*console.Console).MyReads, asks: []string{"after"},
		},
		{
			id: "page_me_data", method: "GET", path: "/me/data", who: self, rate: accountRate,
			page: (*console.Console).MyData, asks: []string{"after"},
		},
		{
			id: "page_me_data_paper", method: "GET", path: "/me/data.html", who: self, rate: accountRate,
			page: (*console.Console).MyDataPaper,
		},
		{
			id: "page_me_data_file", method: "GET", path: "/me/data.json", who: self, rate: accountRate,
			page: (*console.Console).MyDataFile,
		},

		{
			id: "page_me_requests", method: "GET", path: "/me/requests", who: self, rate: accountRate,
			page: (*console.Console).MyRequests, asks: []string{"after", "done"},
		},
		{
			id: "lodge_mine", method: "POST", path: "/me/requests", who: self, rate: accountRate,
			page: (*console.Console).LodgeMine,
		},

		{
			id: "page_erase_me", method: "GET", path: "/me/erase", who: self, rate: accountRate,
			page: (*console.Console).EraseMeForm,
		},
		{
			id: "erase_me", method: "POST", path: "/me/erase", who: self, rate: accountRate,
			page: (*console.Console).EraseMe,
		},
	}
}

// accountPages are the visitor's own account. Those on the way to a second factor are
// bare: an account that needs one first gets no further than them.
func accountPages() []route {
	return []route{
		{
			id: "page_account", method: "GET", path: "/console/account", who: self, rate: accountRate, bare: true,
			page: (*console.Console).Account, asks: []string{"done"},
		},
		{
			id: "change_account", method: "POST", path: "/console/account", who: self, rate: accountRate,
			page: (*console.Console).ChangeAccount,
		},
		{
			id: "verify_my_email", method: "POST", path: "/console/account/verify-email", who: self, rate: accountRate,
			page: (*console.Console).VerifyMyEmail,
		},

		{
			id: "page_password", method: "GET", path: "/console/account/password", who: self, rate: accountRate,
			page: (*console.Console).PasswordForm,
		},
		{
			id: "change_my_password", method: "POST", path: "/console/account/password", who: self, rate: accountRate,
			page: (*console.Console).ChangeMyPassword,
		},

		{
			id: "page_second_factor", method: "GET", path: "/console/account/second-factor", who: self,
			rate: accountRate, bare: true, page: (*console.Console).SecondFactorForm,
		},
		{
			id: "begin_second_factor", method: "POST", path: "/console/account/second-factor", who: self,
			rate: accountRate, bare: true, page: (*console.Console).BeginSecondFactor,
		},
		{
			id: "confirm_second_factor", method: "POST", path: "/console/account/second-factor/confirm", who: self,
			rate: accountRate, bare: true, page: (*console.Console).ConfirmSecondFactor,
		},
		{
			id: "remove_second_factor", method: "POST", path: "/console/account/second-factor/remove", who: self,
			rate: accountRate, page: (*console.Console).RemoveSecondFactor,
		},
	}
}

// doorPages lead to an account, or back into one.
func doorPages() []route {
	return []route{
		{
			id: "page_register", method: "GET", path: "/console/register", who: everyone, rate: publicRate,
			page: (*console.Console).RegisterForm,
		},
		{
			id: "register_me", method: "POST", path: "/console/register", who: everyone, rate: publicRate,
			page: (*console.Console).Register,
		},

		{
			id: "page_forgot", method: "GET", path: "/console/forgot", who: everyone, rate: publicRate,
			page: (*console.Console).ForgotForm,
		},
		{
			id: "forget_password", method: "POST", path: "/console/forgot", who: everyone, rate: publicRate,
			page: (*console.Console).Forgot,
		},

		{
			id: "page_redeem", method: "GET", path: "/console/redeem", who: everyone, rate: publicRate,
			page: (*console.Console).RedeemForm, asks: []string{"done"},
		},
		{
			id: "redeem", method: "POST", path: "/console/redeem", who: everyone, rate: publicRate,
			page: (*console.Console).Redeem,
		},
	}
}
